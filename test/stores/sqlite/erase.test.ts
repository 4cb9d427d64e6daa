import { copyFileSync, existsSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import * as fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import type { ApiKey } from "../../../src/core/model/api-key.ts";
import { KeyctlError } from "../../../src/core/model/errors.ts";
import { newRecord } from "../../../src/core/model/key-record.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { eraseAndWarn } from "../../../src/core/protocol/erase-and-warn.ts";
import { masterKey } from "../../../src/encryption/jwe.ts";
import { createSealer } from "../../../src/encryption/sealer.ts";
import { eraseFromFile } from "../../../src/stores/sqlite/erase.ts";
import { sqliteStore } from "../../../src/stores/sqlite/store.ts";
import { documentsOf, inProcess } from "../../support/programs/in-process.ts";
import { keyEnding, OTHER } from "../../support/fixtures/keys.ts";
import { emptyHome } from "../../support/home/home.ts";
import type { Home } from "../../support/home/home.ts";
import { keyEnding as apiKeyEnding } from "../../support/memory/manager-over.ts";
import { change, openReader } from "../../support/sqlite/database-file.ts";
import { opened } from "../../support/sqlite/sqlite.ts";

/** The warnings of this run that say so. */
function stillOnDisk(run: Parameters<typeof documentsOf>[0]): readonly unknown[] {
  const warnings = (documentsOf(run).at(-1)?.["warnings"] ?? []) as readonly Record<string, unknown>[];
  return warnings.filter(({ code }) => code === "STILL_ON_DISK").map(({ message }) => message);
}

const patient = new AbortController().signal;
const SECRET = keyEnding("eeee");
const USERS = Array.from({ length: 60 }, (_, index) => `user-${index + 10}`);

/** Every byte of the database and of what stands beside it. */
function bytesOf(database: string): string {
  const files = ["", "-wal", "-journal", "-shm"]
    .map((ending) => `${database}${ending}`)
    .filter((file) => existsSync(file));
  return files.map((file) => readFileSync(file, "latin1")).join("");
}

/** A home, and a database of this journal mode that holds a key of each user in plain text. */
async function inPlainText(mode: string): Promise<{ readonly home: Home; readonly database: string }> {
  const home = emptyHome();
  await inProcess(home, ["sync", "--users-file", "-"], { env: { OPENROUTER_API_KEY: OTHER }, input: USERS.join("\n") });
  const database = copyIn(mode, home);
  change(database, `UPDATE api_keys SET key_encrypted = '${SECRET}'`);
  return { home, database };
}

/** A copy of the home's database that nobody has open: what an older process holds could not change its journal mode. */
function copyIn(mode: string, home: Home): string {
  const database = join(home.work, "copy.db");
  copyFileSync(home.database, database);
  change(database, `PRAGMA journal_mode=${mode}`);
  return database;
}

describe.each(["WAL", "DELETE"])("the file of a database with journal mode %s", (mode) => {
  it.each([
    ["rekey --keep-key", 0],
    ["purge --user user-12 --yes", 1],
    [`purge --all --confirm ${USERS.length}`, 0],
    [`purge --users-file users --yes`, 0],
  ])("holds nothing of the keys after: %s", async (line, left) => {
    const { home, database } = await inPlainText(mode);
    // A server that has the database open, as keyctl does: between two calls it holds nothing.
    const server = await opened(database);
    onTestFinished(() => server.connection.close());
    expect(bytesOf(database)).toContain(SECRET);
    writeFileSync(join(home.work, "users"), USERS.join("\n"));
    const run = await inProcess(home, [...line.split(" "), "--json", "--store", `sqlite:${database}`]);
    expect([run.code, stillOnDisk(run)]).toEqual([0, []]);
    // Of one user: those of the others are there once each.
    expect(bytesOf(database).split(SECRET)).toHaveLength(left === 0 ? 1 : USERS.length);
  });

  it("holds no row that was removed, whatever was inserted and removed before it", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { minLength: 20, maxLength: 150 }), fc.integer(), async (kept, seed) => {
        const home = emptyHome();
        (await opened(home.database)).connection.close();
        const database = copyIn(mode, home);
        const { connection, file } = await opened(database);
        const store = sqliteStore({ connection, file, isNew: true });
        const sealer = createSealer(masterKey(Buffer.alloc(32, 1)));
        const rows = kept.map((_, index) => {
          const userId = parseUserId(`user ${(index * 7919 + seed) % 100_003} ${index}`);
          const key: ApiKey = apiKeyEnding("b465");
          return newRecord(userId, {
            key,
            sealed: sealer.seal(key, userId),
            origin: "manual",
            now: "2026-11-22T02:14:07.113Z",
          });
        });
        await store.insertMany(rows, patient);
        for (const [index, row] of rows.entries())
          if (kept[index] === false) await store.remove(row.userId, row, patient);
        expect(await store.eraseRemoved?.({ isThorough: false }, patient)).toBeNull();
        const bytes = bytesOf(database);
        const found = rows.map(({ keyEncrypted }) => bytes.includes(keyEncrypted.slice(-60)));
        expect(found).toEqual(kept);
        await store.close();
      }),
      { numRuns: 15 },
    );
  });
});

describe("the log of a database", () => {
  it("is said to hold them still while another program reads it, and not any more after a rekey then", async () => {
    const { home, database } = await inPlainText("WAL");
    const store = ["--store", `sqlite:${database}`];
    const reader = openReader(database);
    const purges = ["purge", "--user", "user-12", "--yes"];
    for (const args of [["rekey", "--keep-key"], purges, [...purges, "--user", "user-13"]]) {
      const run = await inProcess(home, [...args, "--json", ...store]);
      expect([run.code, stillOnDisk(run)]).toEqual([
        0,
        [
          `what was removed or replaced is still on disk, in ${database}-wal, until the other program that holds the database lets go of it; then: keyctl rekey --keep-key`,
        ],
      ]);
    }
    const said = await inProcess(home, ["purge", "--user", "user-14", "--user", "user-15", "--yes", ...store]);
    expect(said.stderr.match(/warning: what was removed or replaced is still on disk/g)).toHaveLength(1);
    const doctor = await inProcess(home, ["doctor", "--json", ...store]);
    expect(documentsOf(doctor)[0]?.["checks"]).toContainEqual({
      id: "encryption",
      status: "attention",
      message: expect.stringContaining(`an older one is still on disk, in ${database}`),
      hint: `keyctl rekey --store sqlite:${database} --keep-key   removes it, once no other program holds the database`,
    });
    reader.close();
    expect(stillOnDisk(await inProcess(home, ["rekey", "--keep-key", "--json", ...store]))).toEqual([]);
    expect(bytesOf(database)).not.toContain(SECRET);
    expect((await inProcess(home, ["doctor", ...store])).stdout).not.toContain("still on disk");
  });

  it("is named beside the file that a symbolic link leads to", async () => {
    const { home, database } = await inPlainText("WAL");
    const link = join(home.work, "link.db");
    symlinkSync(database, link);
    const reader = openReader(database);
    const run = await inProcess(home, ["rekey", "--keep-key", "--json", "--store", `sqlite:${link}`]);
    expect(stillOnDisk(run)).toEqual([expect.stringContaining(`still on disk, in ${database}-wal, until`)]);
    reader.close();
  });
});

/** A SQLite that ends every rewrite, or every checkpoint, with this error. */
function failing(errcode: number, fails: "rewrite" | "checkpoint"): DatabaseSync {
  const fail = () => {
    throw Object.assign(new Error("as SQLite says"), { code: "ERR_SQLITE_ERROR", errcode });
  };
  const get = () => (fails === "checkpoint" ? fail() : { busy: 0 });
  return { prepare: () => ({ get }), exec: fails === "rewrite" ? fail : () => {} } as unknown as DatabaseSync;
}

async function remainsAfter(errcode: number, fails: "rewrite" | "checkpoint") {
  const home = emptyHome();
  const { connection, file } = await opened(home.database);
  onTestFinished(() => connection.close());
  const remains = await eraseFromFile(failing(errcode, fails), file, { isThorough: true }, patient);
  expect(remains?.place).toBe(fails === "rewrite" ? home.database : `${home.database}-wal`);
  return remains;
}

describe("an erasure that SQLite refuses", () => {
  const FULL = "could not be written: the disk is full";
  const IO = "could not be read or written: the disk answered with an error";

  it.each([
    ["full", 13, FULL],
    ["failing", 778, IO],
    ["failing at a sync", 1034, IO],
    ["damaged", 11, "is damaged, or is not a SQLite database"],
  ])("on a disk or file that is %s (%i) is reported with that error, at once", async (_, errcode, problem) => {
    for (const fails of ["rewrite", "checkpoint"] as const) {
      const began = performance.now();
      expect(await remainsAfter(errcode, fails)).toMatchObject({
        how: "failed",
        error: { message: expect.stringContaining(problem) },
      });
      expect(performance.now() - began).toBeLessThan(900);
    }
  });

  it.each([5, 261, 517, 6, 262])("because of a lock (%i) is reported as held", async (errcode) => {
    expect(await remainsAfter(errcode, "rewrite")).toMatchObject({ how: "held" });
  });

  it("warns with the error and what to type", async () => {
    const error = new KeyctlError("STORE_UNAVAILABLE", `the database /srv/a.db ${FULL}`, { hint: "free some space" });
    const eraseRemoved = async () => ({ place: "/srv/a.db", how: "failed", error }) as const;
    expect(await eraseAndWarn({ eraseRemoved }, { isThorough: true }, patient)).toEqual([
      {
        code: "STILL_ON_DISK",
        message: `what was removed or replaced is still on disk, in /srv/a.db, because the database /srv/a.db ${FULL}; correct that, then: keyctl rekey --keep-key`,
      },
    ]);
  });
});

describe("a log that is cut off", () => {
  it("belongs to its database afterwards, for who has it open and for who opens it", async () => {
    const { home, database } = await inPlainText("WAL");
    const store = ["--store", `sqlite:${database}`];
    const { connection, file } = await opened(database);
    const server = sqliteStore({ connection, file, isNew: false });
    await inProcess(home, ["rekey", "--keep-key", ...store]);
    const user = parseUserId("user-12");
    const row = await server.find(user, patient);
    if (row === undefined) throw new Error("it is not there");
    expect(await server.remove(user, row, patient)).toBe(true);
    expect(statSync(`${database}-wal`).size).toBeGreaterThan(0);
    expect((await inProcess(home, ["get", "--user", "user-12", "--stored", ...store])).code).toBe(3);
    await server.close();
    expect((await inProcess(home, ["get", "--user", "user-13", "--stored", ...store])).code).toBe(0);
  });
});
