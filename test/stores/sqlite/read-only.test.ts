import { execFileSync } from "node:child_process";
import { appendFileSync, chmodSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { frozenFile } from "../../../src/stores/sqlite/frozen-file.ts";
import { KEY, OTHER } from "../../support/fixtures/keys.ts";
import { emptyHome } from "../../support/home/home.ts";
import type { Home } from "../../support/home/home.ts";
import { stage } from "../../support/home/tool-with-openrouter.ts";
import { keyctlAfter, OBEY_MODES } from "../../support/memory/drop-capabilities.ts";
import { keyctl } from "../../support/programs/keyctl.ts";
import {
  AS_ANOTHER_USER,
  MAY_BE_ANOTHER_USER,
  MAY_MOUNT,
  readOnlyMount,
} from "../../support/programs/read-only-mount.ts";
import { change, rowsOf } from "../../support/sqlite/database-file.ts";

const HAS_WAL = rowsOf(":memory:", "SELECT sqlite_version() AS version")
  .map(({ version }) => String(version).localeCompare("3.51.3", "en", { numeric: true }) >= 0)
  .includes(true);

const folderOf = ({ database }: Home) => dirname(database);

/** A program that is killed while its changes are in the log. */
const KILLED = `
  const path = process.argv[1];
  const sqlite = process.getBuiltinModule("node:sqlite") ?? require(process.argv[2]);
  const database = new sqlite.DatabaseSync(path);
  database.exec("UPDATE api_keys SET source = 'environment'");
  process.kill(process.pid, "SIGKILL");`;
const DROP_IN = new URL("../../../node_modules/@photostructure/sqlite", import.meta.url).pathname;

function killAWriter({ database }: Home): void {
  try {
    execFileSync(process.execPath, ["--no-warnings", "-e", KILLED, database, DROP_IN], { stdio: "ignore" });
  } catch {
    // It has killed itself.
  }
  expect(statSync(`${database}-wal`).size).toBeGreaterThan(0);
}

/** What is beside the database, and the origin that a reader must see. */
const STATES: readonly (readonly [name: string, prepare: (home: Home) => void, origin: string])[] = [
  ["a journal mode without a log", ({ database }) => change(database, "PRAGMA journal_mode=DELETE"), "manual"],
  ["no log", () => {}, "manual"],
  ...(HAS_WAL ? [["a log that a killed program has left", killAWriter, "environment"] as const] : []),
];

/** How the database cannot be written. The file is 0444 and its folder 0555, but for the mount. */
const PLACES: readonly (readonly [name: string, isPossible: boolean, line: (home: Home) => string])[] = [
  ["in a folder of mode 0555", process.platform === "linux", () => OBEY_MODES],
  ["of another owner", MAY_BE_ANOTHER_USER, () => AS_ANOTHER_USER],
  ["on a read-only mount", MAY_MOUNT, ({ folder }) => readOnlyMount(folder)],
];

/** A home with the key of alice in a database that cannot be written. */
async function readOnlyHome(prepare: (home: Home) => void) {
  const { home, server, env } = await stage();
  server.addKey(KEY);
  // In a process of its own: on Node 20 a connection that is closed here may stay open.
  await keyctl(home, ["save", "--user", "alice", "--stdin"], { input: KEY });
  prepare(home);
  execFileSync("chmod", ["-R", "a+rX", home.folder]);
  execFileSync("sh", ["-c", 'chmod 444 "$1"/* && chmod 555 "$1"', "sh", folderOf(home)]);
  onTestFinished(() => chmodSync(folderOf(home), 0o755));
  const run = (line: string, args: string, input = "") => keyctlAfter(line, home, args.split(" "), { env, input });
  return { home, run };
}

describe.skipIf(process.platform === "win32")("a database that cannot be written", () => {
  describe.each(PLACES)("%s", (_, isPossible, lineFor) => {
    it.runIf(isPossible).each(STATES)(
      "is read with %s beside it",
      { timeout: 120_000 },
      async (_name, prepare, origin) => {
        const { home, run } = await readOnlyHome(prepare);
        const line = lineFor(home);
        const get = await run(line, "get --user alice --stored --json");
        expect([get.code, JSON.parse(get.stdout)]).toMatchObject([0, { user_id: "alice", origin, error: null }]);
        for (const args of ["list --json", "explain --user alice --json", "sync --user alice --json"]) {
          const { code, stdout } = await run(line, args);
          expect([args, code, stdout.includes("alice")]).toEqual([args, 0, true]);
        }
        expect(await run(line, "list --count")).toMatchObject({ code: 0, stdout: "1\n" });
        expect(await run(line, "history --user alice")).toMatchObject({ code: 0 });
        const doctor = await run(line, "doctor --json");
        expect(JSON.parse(doctor.stdout).checks).toEqual(
          expect.arrayContaining([
            expect.objectContaining({ id: "store", status: "pass" }),
            expect.objectContaining({ id: "server", message: expect.stringContaining("not writable") }),
            expect.objectContaining({ id: "encryption", status: "pass" }),
          ]),
        );
      },
    );

    it.runIf(isPossible)("validates without recording, and says so once", { timeout: 120_000 }, async () => {
      const { home, run } = await readOnlyHome(() => {});
      const one = await run(lineFor(home), "validate --user alice --json");
      const { verdict, recorded, warnings } = JSON.parse(one.stdout) as Record<string, unknown>;
      expect([one.code, verdict, recorded]).toEqual([0, "valid", false]);
      const notRecorded = (warnings as { code: string }[]).filter(({ code }) => code === "NOT_RECORDED");
      expect(notRecorded).toHaveLength(1);
      const all = await run(lineFor(home), "validate --all");
      expect([all.code, all.stderr.split("was not recorded").length]).toEqual([0, 2]);
    });

    it.runIf(isPossible)("refuses what writes with exit 7, and stays as it is", { timeout: 120_000 }, async () => {
      const { home, run } = await readOnlyHome(() => {});
      const masterKeys = readFileSync(home.masterKeys);
      for (const args of ["save --user bob --stdin", "purge --user alice --yes", "rekey"]) {
        const { code, stderr } = await run(lineFor(home), args, OTHER);
        expect([args, code]).toEqual([args, 7]);
        expect(stderr).toMatch(/error: the database \S+ is read-only\nhint: the file, its -wal/);
      }
      expect((await keyctl(home, ["list", "--count"])).stdout).toBe("1\n");
      expect(readFileSync(home.masterKeys)).toEqual(masterKeys);
    });

    it.runIf(isPossible && HAS_WAL)("is an error if its log holds changes and cannot be read", async () => {
      const { home, run } = await readOnlyHome((one) => {
        killAWriter(one);
        rmSync(`${one.database}-shm`);
      });
      for (const args of ["get --user alice --stored", "list", "sync --user alice"]) {
        const { code, stdout, stderr } = await run(lineFor(home), args);
        expect([args, code, stdout]).toEqual([args, 7, ""]);
        expect(stderr).toContain(`cannot be read here: ${home.database}-wal holds changes`);
      }
    });
  });
});

function found() {
  const path = join(emptyHome().work, "keys.db");
  writeFileSync(path, "rows");
  return { path, file: frozenFile(path, statSync(path, { bigint: true })) };
}

describe("a database that is read as it was found", () => {
  it("is read while nothing changes, and is never written", () => {
    const { file } = found();
    file.requireSame();
    file.afterRead();
    expect(() => file.beforeWrite()).toThrow(expect.objectContaining({ code: "STORE_UNAVAILABLE" }));
  });

  it.each<readonly [string, (path: string) => void, RegExp]>([
    ["its content", (path) => appendFileSync(path, " "), /has changed it meanwhile/],
    ["its times", (path) => utimesSync(path, 1, 1), /has changed it meanwhile/],
    ["its being there", (path) => rmSync(path), /has changed it meanwhile/],
    ["a log beside it", (path) => writeFileSync(`${path}-wal`, "frames"), /-wal holds changes/],
    ["a journal beside it", (path) => writeFileSync(`${path}-journal`, "pages"), /-journal holds changes/],
  ])("is not read any more once another program changes %s", (_, act, problem) => {
    const { path, file } = found();
    act(path);
    for (const read of [() => file.requireSame(), () => file.afterRead()]) {
      expect(read).toThrow(
        expect.objectContaining({ code: "STORE_UNAVAILABLE", message: expect.stringMatching(problem) }),
      );
    }
  });

  it.runIf(process.platform === "linux")("is not read so on a file system that another machine may write", () => {
    const path = "/proc/version";
    expect(() => frozenFile(path, statSync(path, { bigint: true }))).toThrow(
      expect.objectContaining({ message: expect.stringContaining("another machine may be writing to it") }),
    );
  });
});
