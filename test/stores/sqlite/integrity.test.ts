import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it, onTestFinished } from "vitest";
import { checkIntegrity } from "../../../src/stores/sqlite/integrity.ts";
import { emptyHome } from "../../support/home/home.ts";
import type { Home } from "../../support/home/home.ts";
import { documentsOf, inProcess } from "../../support/programs/in-process.ts";
import { KEY } from "../../support/fixtures/keys.ts";
import { openFile } from "../../support/sqlite/sqlite.ts";

const patient = () => AbortSignal.timeout(20_000);
const HERE = Number.POSITIVE_INFINITY;
const ELSEWHERE = 0;
const PLACES = [
  ["here", HERE],
  ["in a process of its own", ELSEWHERE],
] as const;

async function homeWithRow(): Promise<Home> {
  const home = emptyHome();
  // All of it is to be in the one file.
  const database = await openFile(home.database);
  database.exec("PRAGMA journal_mode=DELETE");
  database.close();
  expect(await inProcess(home, ["save", "--user", "alice", "--stdin"], { input: KEY })).toMatchObject({ code: 0 });
  return home;
}

/** The row says `alicE`, and the index that finds it says `alice`. */
function alterRow({ database }: Home): void {
  const bytes = readFileSync(database);
  const at = bytes.indexOf("aliceopenroutereyJ");
  expect(at).toBeGreaterThan(0);
  bytes.write("alicE", at);
  writeFileSync(database, bytes);
}

async function check(home: Home, deep: boolean, smallBytes: number, signal = patient()) {
  const database = await openFile(home.database);
  try {
    return await checkIntegrity({ database, path: home.database }, deep, signal, smallBytes);
  } finally {
    database.close();
  }
}

describe.each(PLACES)("a check of the file %s", (_, smallBytes) => {
  it("finds nothing in one that is sound", async () => {
    const home = await homeWithRow();
    expect(await check(home, false, smallBytes)).toEqual({ check: "quick_check", damage: null });
    expect(await check(home, true, smallBytes)).toEqual({ check: "integrity_check", damage: null });
  });

  it("compares the indexes with the tables when it is deep", async () => {
    const home = await homeWithRow();
    alterRow(home);
    expect(await check(home, false, smallBytes)).toMatchObject({ damage: null });
    expect(await check(home, true, smallBytes)).toMatchObject({
      damage: {
        code: "STORE_CORRUPT",
        message: `the database ${home.database} is damaged: row 1 missing from index api_keys_user`,
        hint: expect.stringContaining(`sqlite3 ${home.database} .recover`),
      },
    });
  });

  it("is told as damage where SQLite gives it up", async () => {
    const home = await homeWithRow();
    const bytes = readFileSync(home.database);
    const at = bytes.indexOf("aliceopenroutereyJ");
    const database = await openFile(home.database);
    onTestFinished(() => database.close());
    writeFileSync(home.database, bytes.fill(0, at - (at % 4096), at - (at % 4096) + 4096));
    const { damage } = await checkIntegrity({ database, path: home.database }, false, patient(), smallBytes);
    expect(damage).toMatchObject({ code: "STORE_CORRUPT" });
  });
});

describe("a check of a large file", () => {
  it("ends with the signal, though SQLite itself cannot be stopped", async () => {
    const home = await homeWithRow();
    const database = await openFile(home.database);
    const other = await openFile(home.database);
    onTestFinished(() => [database, other].forEach((open) => open.close()));
    // What waits for a lock does not end by itself either.
    other.exec("BEGIN EXCLUSIVE");
    const over = AbortSignal.timeout(700);
    await expect(checkIntegrity({ database, path: home.database }, true, over, ELSEWHERE)).rejects.toMatchObject({
      name: "TimeoutError",
    });
    other.exec("COMMIT");
  });
});

describe("doctor", () => {
  it("ends with the code of the other commands where a deep look finds damage", async () => {
    const home = await homeWithRow();
    alterRow(home);
    const env = { PATH: "/none", KEYCTL_AUTO_PROVISION: "0" };
    expect((await inProcess(home, ["doctor", "--json"], { env })).code).toBe(0);
    const run = await inProcess(home, ["doctor", "--deep", "--json"], { env });
    expect(run.code).toBe(7);
    const [document] = documentsOf(run);
    expect(document?.["error"]).toMatchObject({ code: "STORE_CORRUPT" });
    expect(document?.["checks"]).toContainEqual({
      id: "server",
      status: "fail",
      message: `the database ${home.database} is damaged: row 1 missing from index api_keys_user`,
      hint: expect.stringContaining(".recover"),
    });
  });

  it("says of a sound one that a deep look has found nothing", async () => {
    const home = await homeWithRow();
    const env = { PATH: "/none", KEYCTL_AUTO_PROVISION: "0" };
    const [document] = documentsOf(await inProcess(home, ["doctor", "--deep", "--json"], { env }));
    expect(document?.["checks"]).toContainEqual({
      id: "server",
      status: "pass",
      message: "integrity_check found no damage",
      hint: null,
    });
  });
});
