import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { DatabaseSync } from "node:sqlite";
import { inspectDatabase } from "../../../src/stores/sqlite/inspect.ts";
import { rowsOf } from "../../support/sqlite/database-file.ts";
import { emptyHome } from "../../support/home/home.ts";
import { asOrdinaryUser } from "../../support/home/ordinary-user.ts";
import { openFile } from "../../support/sqlite/sqlite.ts";

const never = new AbortController().signal;

/** A SQLite of another version, as far as an inspection asks. */
function sqliteSaying(version: string, journalMode: string): DatabaseSync {
  const answers: Readonly<Record<string, unknown>> = {
    "SELECT sqlite_version()": version,
    "SELECT sqlite_version() AS version": version,
    "PRAGMA journal_mode": journalMode,
  };
  const prepare = (sql: string) => ({ get: () => ({ version: answers[sql] ?? 1 }) });
  return { prepare, exec: () => {} } as unknown as DatabaseSync;
}

describe("the inspection of a SQLite database", () => {
  it("says its version, its journal mode, that the index is there and that it is writable", async () => {
    const home = emptyHome();
    const database = await openFile(home.database);
    const before = readFileSync(home.database);
    const { server, details, refusal, problems } = await inspectDatabase(database, home.database, never);
    const [row] = rowsOf(home.database, "SELECT sqlite_version() AS version");
    expect(server).toBe(`SQLite ${String(row?.["version"])}`);
    expect(details).toEqual([expect.stringMatching(/^journal mode (wal|delete)$/), "index present"]);
    expect({ refusal, problems }).toEqual({ refusal: null, problems: [] });
    expect(readFileSync(home.database)).toEqual(before);
    database.close();
  });

  it("misses the unique index, and says how to make it anew", async () => {
    const home = emptyHome();
    const database = await openFile(home.database);
    database.exec("DROP INDEX api_keys_user");
    const { details, problems } = await inspectDatabase(database, home.database, never);
    expect(details).toHaveLength(1);
    expect(problems).toMatchObject([{ isFailure: true, message: expect.stringContaining("api_keys_user is missing") }]);
    const [, sql = ""] = /'(.*)'$/.exec(problems[0]?.hint ?? "") ?? [];
    database.exec(sql);
    expect((await inspectDatabase(database, home.database, never)).problems).toEqual([]);
    database.close();
  });

  it.each([
    ["3.51.2", "wal", 1],
    ["3.45.0", "wal", 1],
    ["3.51.3", "wal", 0],
    ["4.0.0", "wal", 0],
    ["3.45.0", "delete", 0],
  ])("of SQLite %s with journal mode %s has %i warnings of it", async (version, journalMode, warnings) => {
    const { problems } = await inspectDatabase(sqliteSaying(version, journalMode), "/tmp", never);
    expect(problems.filter(({ isFailure }) => !isFailure)).toHaveLength(warnings);
  });

  it.each([
    ["the file", 0o444, 0o777],
    ["its folder", 0o666, 0o555],
  ])("says that it takes no writes where %s is read-only", async (_, fileMode, folderMode) => {
    const code = await asOrdinaryUser(
      "stores/sqlite/inspect.ts",
      `(async () => {
        const { mkdtempSync, chmodSync, rmSync } = require("node:fs");
        const { DatabaseSync } = process.getBuiltinModule("node:sqlite") ?? require(${JSON.stringify(DROP_IN)});
        const folder = mkdtempSync(require("node:os").tmpdir() + "/keyctl-test-");
        const path = folder + "/keys.db";
        const made = new DatabaseSync(path);
        made.exec("CREATE TABLE api_keys (a)");
        made.close();
        chmodSync(path, ${fileMode});
        chmodSync(folder, ${folderMode});
        const database = new DatabaseSync(path);
        const { refusal } = await subject.inspectDatabase(database, path, new AbortController().signal);
        database.close();
        chmodSync(folder, 0o700);
        rmSync(folder, { recursive: true });
        return refusal?.code ?? null;
      })()`,
    );
    expect(code).toBe("STORE_UNAVAILABLE");
  });

  it("asks whether the folder of the real file takes writes, not that of a link", async () => {
    const refusal = await asOrdinaryUser(
      "stores/sqlite/store.ts",
      `(async () => {
        const { mkdtempSync, mkdirSync, chmodSync, rmSync, symlinkSync } = require("node:fs");
        const { DatabaseSync } = process.getBuiltinModule("node:sqlite") ?? require(${JSON.stringify(DROP_IN)});
        const folder = mkdtempSync(require("node:os").tmpdir() + "/keyctl-test-");
        const links = folder + "/links";
        const [realPath, path] = [folder + "/keys.db", links + "/keys.db"];
        const connection = new DatabaseSync(realPath);
        connection.exec("CREATE TABLE api_keys (a)");
        mkdirSync(links);
        symlinkSync(realPath, path);
        chmodSync(links, 0o555);
        const file = { path, realPath, close: () => connection.close() };
        const store = subject.sqliteStore({ connection, file, isNew: false });
        const { refusal } = await store.inspect(new AbortController().signal);
        await store.close();
        chmodSync(links, 0o700);
        rmSync(folder, { recursive: true });
        return refusal?.message ?? null;
      })()`,
    );
    expect(refusal).toBeNull();
  });
});

const DROP_IN = new URL("../../../node_modules/@photostructure/sqlite", import.meta.url).pathname;
