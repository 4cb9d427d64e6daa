import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { change, rowsOf } from "../support/sqlite/database-file.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { keyctl } from "../support/programs/keyctl.ts";
import { KEY } from "../support/fixtures/keys.ts";
import { savingProgram } from "../support/programs/saving-program.ts";

const WAL = rowsOf(":memory:", "SELECT sqlite_version() AS version")
  .map(({ version }) => String(version).localeCompare("3.51.3", "en", { numeric: true }) >= 0)
  .includes(true);

const walOf = ({ database }: Home) => `${database}-wal`;
const backupOf = ({ folder }: Home) => join(folder, "backup.db");

// Each in a process of its own: on Node 20 a connection that is closed here may stay open.
const save = (home: Home, user: string) => keyctl(home, ["save", "-u", user, "--stdin"], { input: KEY });

async function usersIn(home: Home): Promise<readonly string[]> {
  const run = await keyctl(home, ["list", "--json"]);
  expect([run.code, run.stderr]).toEqual([0, ""]);
  return run.stdout
    .split("\n")
    .slice(0, -1)
    .map((line) => (JSON.parse(line) as { user_id: string }).user_id);
}

/** `before` is in the database file and in its backup, `after` in the log that a killed program has left. */
async function killedAfter(backup: (home: Home) => Promise<void> | void): Promise<Home> {
  const home = emptyHome();
  expect((await save(home, "before")).code).toBe(0);
  await backup(home);
  const program = savingProgram(home, ["after"]);
  await program.saved(2);
  await program.kill();
  expect(existsSync(walOf(home))).toBe(true);
  return home;
}

const BACKUPS: Readonly<Record<string, (home: Home) => Promise<void> | void>> = {
  "a copy of the file": (home) => copyFileSync(home.database, backupOf(home)),
  "what keyctl copy has made": async (home) => {
    const run = await keyctl(home, ["copy", "--to", `sqlite:${backupOf(home)}`, "--create"]);
    expect(run.code).toBe(0);
  },
  "what VACUUM INTO has made": (home) => change(home.database, `VACUUM INTO '${backupOf(home)}'`),
};

const RESTORES: Readonly<Record<string, (home: Home) => void>> = {
  "cp over the file": (home) => copyFileSync(backupOf(home), home.database),
  "cp -p over the file": (home) => void execFileSync("cp", ["-p", backupOf(home), home.database]),
  // The new file may get the inode of the old one.
  "rm, then cp": (home) => {
    rmSync(home.database);
    copyFileSync(backupOf(home), home.database);
  },
  "rm, then cp -p": (home) => {
    rmSync(home.database);
    execFileSync("cp", ["-p", backupOf(home), home.database]);
  },
  mv: (home) => renameSync(backupOf(home), home.database),
};

const PAIRS = Object.entries(BACKUPS).flatMap(([made, backup]) =>
  Object.entries(RESTORES).map(([restored, restore]) => [made, restored, backup, restore] as const),
);

describe.runIf(WAL)("a log that a killed program has left", () => {
  it("is replayed into the file that it was written for", async () => {
    const home = await killedAfter(() => {});
    expect(await usersIn(home)).toEqual(["after", "before"]);
    expect(await usersIn(home)).toEqual(["after", "before"]);
    expect(readdirSync(dirname(home.database))).toEqual(["keyctl.db"]);
  });

  it.each([
    ["the mode of the file is changed", (home: Home) => chmodSync(home.database, 0o640)],
    ["the log's index is gone", (home: Home) => rmSync(`${home.database}-shm`)],
    ["its note is gone", (home: Home) => rmSync(`${home.database}-wal-owner`)],
  ])("is replayed when %s", async (_, act) => {
    const home = await killedAfter(() => {});
    act(home);
    expect(await usersIn(home)).toEqual(["after", "before"]);
  });

  it("is replayed where all was copied to, in either order", async () => {
    const home = await killedAfter(() => {});
    const names = readdirSync(dirname(home.database));
    expect(names).toEqual(["keyctl.db", "keyctl.db-shm", "keyctl.db-wal", "keyctl.db-wal-owner"]);
    for (const order of [names, names.toReversed()]) {
      const there = emptyHome();
      cpSync(dirname(home.masterKeys), dirname(there.masterKeys), { recursive: true });
      mkdirSync(dirname(there.database), { recursive: true });
      for (const name of order) copyFileSync(join(dirname(home.database), name), join(dirname(there.database), name));
      expect(await usersIn(there)).toEqual(["after", "before"]);
    }
  });

  it.each(PAIRS)("does not undo a restore of %s by %s: it is named", async (_made, _restored, backup, restore) => {
    const home = await killedAfter(backup);
    restore(home);
    const before = readFileSync(home.database);
    for (const args of [["list"], ["sync", "-u", "new"], ["get", "-u", "before", "--stored"]]) {
      const run = await keyctl(home, args, { env: { OPENROUTER_API_KEY: KEY } });
      expect([args, run.code, run.stdout]).toEqual([args, 7, ""]);
      expect(run.stderr).toContain(
        `error: ${walOf(home)} belongs to another database than the one that is there: it would undo or damage what was restored\n`,
      );
    }
    expect(readFileSync(home.database).equals(before)).toBe(true);

    const { stderr } = await keyctl(home, ["list"]);
    const [, way = ""] = /^hint: stop what uses the database, then: (.+)$/m.exec(stderr) ?? [];
    execFileSync("sh", ["-c", way]);
    expect(await usersIn(home)).toEqual(["before"]);
  });

  // File times are as coarse as the kernel's clock tick, several milliseconds on some machines.
  it("does not undo a restore in the same tick of the clock as its last write", async () => {
    const home = await killedAfter((of) => copyFileSync(of.database, backupOf(of)));
    copyFileSync(backupOf(home), home.database);
    const { ctimeNs } = statSync(home.database, { bigint: true });
    execFileSync("touch", [
      "-d",
      `@${ctimeNs / 1_000_000_000n}.${String(ctimeNs % 1_000_000_000n).padStart(9, "0")}`,
      walOf(home),
    ]);
    expect(statSync(walOf(home), { bigint: true }).mtimeNs).toBe(ctimeNs);
    const run = await keyctl(home, ["list"]);
    expect([run.code, run.stdout]).toEqual([7, ""]);
    expect(run.stderr).toContain(`error: ${walOf(home)} belongs to another database`);
  });

  it("is used all the same once a person has said that nothing was restored", async () => {
    const home = await killedAfter(() => {});
    execFileSync("touch", [home.database]);
    const { code, stderr } = await keyctl(home, ["list"]);
    expect(code).toBe(7);
    const [, way = ""] = /^ {6}if nothing was restored: (.+)$/m.exec(stderr) ?? [];
    execFileSync("sh", ["-c", way]);
    expect(await usersIn(home)).toEqual(["after", "before"]);
  });

  it("is named when the file is gone, and taken up again when it is back", async () => {
    const home = await killedAfter(() => {});
    renameSync(home.database, `${home.database}.away`);
    const run = await keyctl(home, ["sync", "-u", "new"], { env: { OPENROUTER_API_KEY: KEY } });
    expect([run.code, existsSync(home.database)]).toEqual([7, false]);
    renameSync(`${home.database}.away`, home.database);
    expect(await usersIn(home)).toEqual(["after", "before"]);
  });

  it("is named beside an empty file, for which SQLite would delete it", async () => {
    const home = await killedAfter(() => {});
    const log = readFileSync(walOf(home));
    truncateSync(home.database);
    const run = await keyctl(home, ["sync", "-u", "new"], { env: { OPENROUTER_API_KEY: KEY } });
    expect(run.code).toBe(7);
    expect(run.stderr).toContain(`${walOf(home)}, which belongs to it, is still there`);
    expect(readFileSync(walOf(home)).equals(log)).toBe(true);
  });

  it("is found by way of a link too", async () => {
    const home = await killedAfter(BACKUPS["a copy of the file"] ?? (() => {}));
    const link = {
      ...home,
      environment: { ...home.environment, KEYCTL_STORE: `sqlite:${join(home.work, "link.db")}` },
    };
    execFileSync("ln", ["-s", home.database, join(home.work, "link.db")]);
    expect(await usersIn(link)).toEqual(["after", "before"]);
    const again = savingProgram(link, ["after"]);
    await again.saved(2);
    await again.kill();
    renameSync(backupOf(home), home.database);
    expect((await keyctl(link, ["list"])).stderr).toContain(`error: ${walOf(home)} belongs to another database`);
  });
});

describe.runIf(WAL)("a restore by mv over a database that a program has open", () => {
  it("is neither damaged nor undone, by that program or by the next one", async () => {
    const home = emptyHome();
    await save(home, "before");
    copyFileSync(home.database, backupOf(home));
    const program = savingProgram(home, ["after"]);
    await program.saved(2);
    program.stop();
    const restored = readFileSync(backupOf(home));
    renameSync(backupOf(home), home.database);
    expect((await keyctl(home, ["list"])).stderr).toContain(`error: ${walOf(home)} belongs to another database`);
    program.resume();
    // It was stopped between two writes, or in the middle of one.
    await expect(program.saved(Infinity)).rejects.toThrow(
      /was replaced by another file while it was in use|did not say whether/,
    );
    await expect(program.finish()).rejects.toThrow("the saving program said");
    expect(readFileSync(home.database).equals(restored)).toBe(true);
    const { stderr } = await keyctl(home, ["list"]);
    const [, way = ""] = /^hint: stop what uses the database, then: (.+)$/m.exec(stderr) ?? [];
    execFileSync("sh", ["-c", way]);
    expect(await usersIn(home)).toEqual(["before"]);
    expect(rowsOf(home.database, "PRAGMA integrity_check")).toEqual([{ integrity_check: "ok" }]);
  });
});

describe.runIf(WAL)("the note of whose log it is", () => {
  it("is there while a program writes, with the mode of the database, and goes with the log", async () => {
    const home = emptyHome();
    const program = savingProgram(home, ["alice"]);
    await program.saved(2);
    const note = `${home.database}-wal-owner`;
    expect(existsSync(note)).toBe(true);
    await program.finish();
    expect(readdirSync(dirname(home.database))).toEqual(["keyctl.db"]);
  });

  it("is written by no command that only reads", async () => {
    const home = emptyHome();
    await save(home, "alice");
    const program = savingProgram(home, ["bob"]);
    await program.opened();
    await program.saved(1);
    program.stop();
    rmSync(`${home.database}-wal-owner`, { force: true });
    expect((await keyctl(home, ["list", "--count"])).code).toBe(0);
    expect(existsSync(`${home.database}-wal-owner`)).toBe(false);
    program.resume();
    await program.kill();
  });
});
