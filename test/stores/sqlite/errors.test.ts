import * as fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import { isKeyctlError } from "../../../src/core/model/errors.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { openStoreError, storeError } from "../../../src/stores/sqlite/errors.ts";
import { sqliteStore } from "../../../src/stores/sqlite/store.ts";
import { change, holdLock } from "../../support/sqlite/database-file.ts";
import { emptyHome } from "../../support/home/home.ts";
import { opened } from "../../support/sqlite/sqlite.ts";

const PATH = "/srv/my keys.db";
const ALICE = parseUserId("alice");
const patience = () => AbortSignal.timeout(5_000);

/** As SQLite throws it; without a code, as the drop-in for Node 20 does from `all`. */
function thrown(message: string, errcode?: number): Error {
  return Object.assign(new Error(message), { code: "ERR_SQLITE_ERROR", ...(errcode === undefined ? {} : { errcode }) });
}

function asWrite(errcode: number): unknown {
  return openStoreError(thrown("x", errcode), PATH, true);
}

function codeAndMessage(error: unknown) {
  return isKeyctlError(error) ? [error.code, error.message] : error;
}

describe("an error of SQLite", () => {
  const DAMAGED = "is damaged, or is not a SQLite database";
  const ALTERED = "is damaged, or another program has changed it";
  it.each([
    ["database disk image is malformed", 11, "STORE_CORRUPT", DAMAGED],
    ["database disk image is malformed", 779, "STORE_CORRUPT", DAMAGED],
    ["database disk image is malformed", undefined, "STORE_CORRUPT", DAMAGED],
    ["malformed database schema (api_keys) - invalid rootpage", 11, "STORE_CORRUPT", DAMAGED],
    ["malformed database schema (?)", undefined, "STORE_CORRUPT", DAMAGED],
    ["file is not a database", 26, "STORE_CORRUPT", DAMAGED],
    ["file is not a database", undefined, "STORE_CORRUPT", DAMAGED],
    ["disk I/O error", 8458, "STORE_CORRUPT", DAMAGED],
    ["no such table: api_key_journal", 1, "STORE_CORRUPT", ALTERED],
    ["no such index: api_keys_hash", 1, "STORE_CORRUPT", ALTERED],
    ["malformed JSON", undefined, "STORE_CORRUPT", ALTERED],
    ["JSON cannot hold BLOB values", undefined, "STORE_CORRUPT", ALTERED],
    ["UNIQUE constraint failed: api_keys._id", 2067, "STORE_CORRUPT", ALTERED],
    ["CHECK constraint failed: json_valid(body)", 275, "STORE_CORRUPT", ALTERED],
    ["datatype mismatch", 20, "STORE_CORRUPT", ALTERED],
    ["disk I/O error", 266, "STORE_UNAVAILABLE", "could not be read or written: the disk answered with an error"],
    ["disk I/O error", undefined, "STORE_UNAVAILABLE", "could not be read or written: the disk answered with an error"],
    ["database or disk is full", 13, "STORE_UNAVAILABLE", "could not be written: the disk is full"],
    ["attempt to write a readonly database", 8, "STORE_UNAVAILABLE", "is read-only"],
    ["attempt to write a readonly database", 1032, "STORE_UNAVAILABLE", "was moved or replaced while it was in use"],
    ["unable to open database file", 14, "STORE_UNAVAILABLE", "cannot be opened"],
    ["access permission denied", 3, "STORE_UNAVAILABLE", "cannot be opened: permission denied"],
    ["out of memory", 7, "STORE_UNAVAILABLE", "could not be read: there is too little memory"],
    ["locking protocol", 15, "STORE_UNAVAILABLE", "failed (locking protocol, SQLite result code 15)"],
    [
      "cannot commit - no transaction is active",
      1,
      "STORE_UNAVAILABLE",
      "failed (cannot commit - no transaction is active, SQLite result code 1)",
    ],
    ["what nobody has heard of", undefined, "STORE_UNAVAILABLE", "failed (what nobody has heard of)"],
  ])("%s (%s) is %s", (message, errcode, code, problem) => {
    expect(codeAndMessage(storeError(thrown(message, errcode), PATH))).toEqual([
      code,
      `the database ${PATH} ${problem}`,
    ]);
  });

  it("names the way out of damage, which of a database that was open may have been written to", () => {
    expect(storeError(thrown("database disk image is malformed", 11), PATH)).toMatchObject({
      hint: "put it aside and restore a backup; nothing was written to it",
    });
    expect(openStoreError(thrown("database disk image is malformed", 11), PATH)).toMatchObject({
      hint:
        "put it aside and restore a backup, or save what can still be read: " +
        "sqlite3 '/srv/my keys.db' .recover | sqlite3 '/srv/my keys.db.recovered'",
    });
  });

  it("leaves what is none of its errors as it is", () => {
    const bug = new TypeError("undefined is not a function");
    expect(storeError(bug, PATH)).toBe(bug);
  });
});

describe("what SQLite really throws", () => {
  const damages = [
    ["a table that is gone", "DROP TABLE api_key_journal"],
    ["a column that is gone", "DROP INDEX api_keys_hash; ALTER TABLE api_keys DROP COLUMN key_hash"],
    ["an index that is gone", "DROP INDEX api_keys_user; DROP INDEX api_keys_hash"],
  ] as const;

  it.each(damages)("for %s is STORE_CORRUPT, from whichever call", async (_, sql) => {
    const home = emptyHome();
    const database = await opened(home.database);
    const store = sqliteStore(database);
    onTestFinished(() => store.close());
    change(home.database, sql);
    const calls: readonly (() => Promise<unknown>)[] = [
      () => store.find(ALICE, patience()),
      () => store.findMany([ALICE], patience()),
      () => store.entries(ALICE, patience()),
      () => store.outcomesOf(["x"], patience()),
      async () => {
        for await (const row of store.scan(patience)) return row;
        return undefined;
      },
      async () => {
        for await (const row of store.scan(patience, "x")) return row;
        return undefined;
      },
    ];
    const settled = await Promise.allSettled(calls.map((call) => call()));
    const errors = settled.flatMap((end) => (end.status === "rejected" ? [end.reason as unknown] : []));
    expect(errors.length).toBeGreaterThan(0);
    for (const error of errors) expect(error).toMatchObject({ code: "STORE_CORRUPT" });
  });

  it("for a lock is waited for, from the calls that give many rows as well", async () => {
    const home = emptyHome();
    const { connection } = await opened(home.database);
    connection.exec("PRAGMA journal_mode=DELETE");
    connection.close();
    const store = sqliteStore(await opened(home.database));
    onTestFinished(() => store.close());
    const letGo = holdLock(home.database);
    const over = AbortSignal.timeout(200);
    await expect(store.findMany([ALICE], over)).rejects.toMatchObject({ name: "TimeoutError" });
    const waiting = Promise.all([
      store.findMany([ALICE], AbortSignal.timeout(10_000)),
      store.entries(ALICE, AbortSignal.timeout(10_000)),
      store.keyCheckValues(AbortSignal.timeout(10_000)),
    ]);
    setTimeout(letGo, 100);
    expect(await waiting).toEqual([[], [], []]);
  });
});

describe("a row that keyctl cannot have written", () => {
  const damages = [
    ["a blob for a text", "UPDATE api_keys SET source = x'00ff'"],
    ["nothing for a text", "UPDATE api_keys SET created_at = NULL"],
    ["a fraction for a number", "UPDATE api_keys SET generation = 1.5"],
    ["a number that is too big", "UPDATE api_keys SET revision = 9223372036854775807"],
    ["a text that is no JSON", "UPDATE api_keys SET previous = 'null and void'"],
    ["JSON of another kind", "UPDATE api_keys SET last_check = '7'"],
    ["a blob among the terms", "UPDATE api_keys SET generation = 1, label = x'00ff'"],
    ["a number among the terms", "UPDATE api_keys SET generation = 1, label = 7"],
  ] as const;

  it.each(damages)("is STORE_CORRUPT: %s", async (_, sql) => {
    const whole = await opened(emptyHome().database);
    const database = whole.connection;
    // As a damaged page would hold it: the schema itself takes none of this.
    const schema = String(database.prepare("SELECT sql FROM sqlite_schema WHERE name = 'api_keys'").get()?.["sql"]);
    const lax = schema
      .replace(/\)\s*STRICT/, ")")
      .replaceAll("NOT NULL", "")
      .replaceAll(/CHECK \((?:[^()]|\([^()]*\))*\)/g, "")
      .replaceAll(/ (?:TEXT|INTEGER|REAL)/g, "");
    database.exec(`DROP TABLE api_keys; ${lax}`);
    database.exec(
      "CREATE UNIQUE INDEX api_keys_user ON api_keys (user_id, provider); CREATE INDEX api_keys_hash ON api_keys (key_hash)",
    );
    database.exec(
      `INSERT INTO api_keys (_id, user_id, provider, key_encrypted, source, created_at, updated_at, revision, generation, settled)
       VALUES ('1', 'alice', 'openrouter', 'eyJ.x...', 'manual', '2026-11-22T00:00:00.000Z', '2026-11-22T00:00:00.000Z', 1, 0, 1)`,
    );
    const store = sqliteStore(whole);
    onTestFinished(() => store.close());
    await expect(store.find(ALICE, patience())).resolves.toMatchObject({ id: "1" });
    database.exec(sql);
    const refusal = { code: "STORE_CORRUPT", message: expect.stringContaining(" damaged") };
    await expect(store.find(ALICE, patience())).rejects.toMatchObject(refusal);
    await expect(store.findMany([ALICE], patience())).rejects.toMatchObject(refusal);
  });
});

describe("a write that SQLite has failed", () => {
  const NOT_APPLIED = [1, 3, 5, 6, 8, 11, 13, 14, 15, 18, 19, 20, 23, 26];
  /** A page could not be read or written; the one that commits comes last. */
  const NOT_APPLIED_OF_THE_DISK = [266, 522, 778];
  it("may have been applied, unless its code is known to say that it was not", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 0, max: 40 }), (primary, extension) => {
        const code = primary + 256 * extension;
        const isKnown = primary === 10 ? NOT_APPLIED_OF_THE_DISK.includes(code) : NOT_APPLIED.includes(primary);
        expect(asWrite(code)).toMatchObject({ name: "KeyctlError", mayHaveHappened: !isKnown });
      }),
    );
  });

  it.each([
    ["the sync after the commit", 1034, true],
    ["the sync of the folder", 1290, true],
    ["the deletion of a journal, which commits", 2570, true],
    ["the index of the log, once the log is written", 5386, true],
    ["a page that commits", 778, false],
    ["a full disk", 13, false],
  ])("is open where what failed is %s (%i): %s", (_, errcode, mayHaveHappened) => {
    expect(asWrite(errcode)).toMatchObject({ mayHaveHappened });
    expect(openStoreError(thrown("disk I/O error", errcode), PATH)).toMatchObject({ mayHaveHappened: false });
  });

  it("is open where the drop-in says no more than that the disk has failed", () => {
    expect(openStoreError(thrown("disk I/O error"), PATH, true)).toMatchObject({ mayHaveHappened: true });
  });
});
