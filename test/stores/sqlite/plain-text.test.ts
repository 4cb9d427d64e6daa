import { copyFileSync, existsSync, readFileSync, statSync, symlinkSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { sqliteStore } from "../../../src/stores/sqlite/store.ts";
import { KEY } from "../../support/fixtures/keys.ts";
import { emptyHome } from "../../support/home/home.ts";
import type { Home } from "../../support/home/home.ts";
import { documentsOf, inProcess } from "../../support/programs/in-process.ts";
import { keyctl } from "../../support/programs/keyctl.ts";
import { change } from "../../support/sqlite/database-file.ts";
import { opened } from "../../support/sqlite/sqlite.ts";

const patient = new AbortController().signal;
const TOO_LARGE_BYTES = 256 * 1024 * 1024 + 1;
const INSERT_OLD = `INSERT INTO api_key_meta (_id, value) VALUES ('old', '${KEY}')`;
const DELETE_OLD = "DELETE FROM api_key_meta WHERE _id = 'old'";

async function openStore(home: Home, mode: "WAL" | "DELETE") {
  const made = await opened(home.database);
  made.connection.exec(`PRAGMA journal_mode=${mode}`);
  made.connection.close();
  const { connection, file } = await opened(home.database);
  const store = sqliteStore({ connection, file, isNew: false });
  onTestFinished(() => store.close());
  return { store, connection };
}

/** The locks that this process holds on the file, as the kernel lists them. */
function locksOn(path: string): readonly string[] {
  const { ino } = statSync(path);
  return readFileSync("/proc/locks", "utf8")
    .split("\n")
    .filter((line) => line.includes(` ${process.pid} `) && line.includes(`:${ino} `))
    .map((line) => line.replace(/^\d+: /, ""));
}

/** What doctor says of the keys' encryption. */
async function encryptionOf(home: Home, database: string) {
  const run = await inProcess(home, ["doctor", "--json", "--store", `sqlite:${database}`]);
  const checks = documentsOf(run)[0]?.["checks"] as readonly Record<string, unknown>[];
  return checks.filter(({ id }) => id === "encryption");
}

// Windows has no locks that closing a file drops.
describe.skipIf(process.platform === "win32")("a search for keys in plain text in an open database", () => {
  it("leaves the lock of a transaction in place: no other program writes in the middle of it", async () => {
    const home = emptyHome();
    const { store, connection } = await openStore(home, "DELETE");
    const save = ["save", "--user", "bob", "--stdin", "--timeout", "500ms"];
    connection.exec("BEGIN IMMEDIATE");
    await store.filesWithPlainText?.(patient);
    expect(await keyctl(home, save, { input: KEY })).toMatchObject({
      code: 7,
      stderr: expect.stringContaining("timed out before the database answered"),
    });
    connection.exec("ROLLBACK");
  });

  // Without this lock, another program that closes the database would delete the log.
  it.skipIf(!existsSync("/proc/locks"))("leaves the lock of a connection that has a log in place", async () => {
    const home = emptyHome();
    const { store } = await openStore(home, "WAL");
    await store.count(patient);
    const before = locksOn(home.database);
    expect(before).not.toEqual([]);
    for (const _ of [1, 2]) await store.filesWithPlainText?.(patient);
    expect(locksOn(home.database)).toEqual(before);
  });

  it("ends with its signal", async () => {
    const { store } = await openStore(emptyHome(), "WAL");
    await expect(store.filesWithPlainText?.(AbortSignal.abort(new Error("enough")))).rejects.toThrow("enough");
  });
});

describe("an older key in plain text", () => {
  it("is found in the log beside the file that a symbolic link leads to", async () => {
    const home = emptyHome();
    const { connection } = await openStore(home, "WAL");
    connection.exec(INSERT_OLD);
    connection.exec(DELETE_OLD);
    const link = join(home.work, "link.db");
    symlinkSync(home.database, link);
    expect(await encryptionOf(home, link)).toMatchObject([
      { status: "attention", message: expect.stringContaining(`still on disk, in ${home.database}-wal`) },
    ]);
  });

  it("is removed by sqlite3 from a file that is too large for rekey", async () => {
    const home = emptyHome();
    await sqliteStore(await opened(home.database)).close();
    // On Node 20, the closed database may still be open in this process.
    change(home.database, "PRAGMA wal_checkpoint(TRUNCATE)");
    const database = join(home.work, "copy.db");
    copyFileSync(home.database, database);
    change(database, `PRAGMA journal_mode=DELETE; PRAGMA secure_delete=OFF; ${INSERT_OLD}; ${DELETE_OLD}`);
    const hintOf = async () => (await encryptionOf(home, database)).map(({ hint }) => hint);
    expect(await hintOf()).toEqual([
      `keyctl rekey --store sqlite:${database} --keep-key   removes it, once no other program holds the database`,
    ]);
    truncateSync(database, TOO_LARGE_BYTES);
    expect(await hintOf()).toEqual([
      `sqlite3 ${database} VACUUM   removes it, once no other program holds the database`,
    ]);
  });
});
