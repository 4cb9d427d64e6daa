import type { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, onTestFinished } from "vitest";
import { whileUnlocked } from "../../../src/stores/sqlite/retry-locked.ts";
import { emptyHome } from "../../support/home/home.ts";
import type { Home } from "../../support/home/home.ts";
import { keyctl } from "../../support/programs/keyctl.ts";
import { savingProgram } from "../../support/programs/saving-program.ts";
import { openFile } from "../../support/sqlite/sqlite.ts";
import { waitingProgram } from "../../support/programs/waiting-program.ts";

const KEY = "sk-or-v1-0000000000000000000000000000000000000000000000000000000000b465";
const TIME_OVER = `error: timed out before the database answered
hint: another program may be blocking it; try again, or give more time with --timeout
`;

/** This process as the other one that uses the database. */
async function otherProgram(home: Home): Promise<DatabaseSync> {
  const database = await openFile(home.database);
  onTestFinished(() => database.close());
  return database;
}

interface Writer {
  /** Ends it after its transaction; how many it has done. */
  readonly finish: () => Promise<number>;
}

/**
 * Another program that writes in long transactions, one after the other, with little time between them. It ends with its
 * test at the latest, however that ends, and closes its database only then.
 */
async function busyWriter(home: Home): Promise<Writer> {
  const database = await openFile(home.database);
  const stop = new AbortController();
  const writing = writeUntil(database, stop.signal).finally(() => database.close());
  // A test that has failed before it asks still hears of no other failure than its own.
  writing.catch(() => {});
  const finish = () => {
    stop.abort();
    return writing;
  };
  onTestFinished(async () => void (await finish()));
  return { finish };
}

async function writeUntil(database: DatabaseSync, signal: AbortSignal): Promise<number> {
  const patient = new AbortController().signal;
  let transactions = 0;
  while (!signal.aborted) {
    await whileUnlocked(() => database.exec("BEGIN IMMEDIATE"), patient);
    database.exec("UPDATE api_key_meta SET value = value");
    await sleep(250);
    // Without a write-ahead log, a commit waits until nobody reads.
    await whileUnlocked(() => database.exec("COMMIT"), patient);
    transactions += 1;
    await sleep(40);
  }
  return transactions;
}

describe("while another process holds the lock", () => {
  // A machine that is busy can hold up any process for as long; a store that blocks does so every time.
  it("the event loop stands still for no longer than 100 ms", { retry: 3 }, async () => {
    const home = emptyHome();
    const save = waitingProgram(home);
    expect(await save("alice", 30_000)).toMatchObject({ code: null });
    const writer = await busyWriter(home);
    for (const user of ["alice", "bob", "carol", "alice"]) {
      const { code, longestGapMs } = await save(user, 30_000);
      expect(code).toBeNull();
      expect(longestGapMs).toBeLessThan(100);
    }
    expect(await writer.finish()).toBeGreaterThan(1);
  });

  it("the library gives up when the time is over, and goes on when the lock is free", async () => {
    const home = emptyHome();
    const save = waitingProgram(home);
    await save("alice", 30_000);
    const other = await otherProgram(home);
    other.exec("BEGIN IMMEDIATE");
    expect(await save("alice", 300)).toMatchObject({ code: "STORE_UNAVAILABLE" });
    other.exec("COMMIT");
    expect(await save("alice", 30_000)).toMatchObject({ code: null });
  });

  it.each(["WAL", "DELETE"])("every command gives up when the time is over, journal mode %s", async (mode) => {
    const home = emptyHome();
    await keyctl(home, ["save", "--user", "alice", "--stdin"], { input: KEY });
    const other = await otherProgram(home);
    other.exec(`PRAGMA journal_mode=${mode}; BEGIN EXCLUSIVE`);
    const readers = [["list"], ["get", "--user", "alice", "--stored"]];
    const writers = [
      ["save", "--user", "bob", "--stdin"],
      ["purge", "--user", "alice", "--yes"],
    ];
    const blocked = mode === "WAL" ? writers : [...readers, ...writers];
    const runs = await Promise.all(
      blocked.map((args) => keyctl(home, ["--timeout", "300ms", ...args], { input: KEY })),
    );
    expect(runs).toMatchObject(blocked.map(() => ({ code: 7, stdout: "", stderr: TIME_OVER })));
    other.exec("ROLLBACK");
    expect((await keyctl(home, ["get", "--user", "alice", "--stored", "--reveal"])).stdout).toBe(`${KEY}\n`);
    expect((await keyctl(home, ["list", "--count"])).stdout).toBe("1\n");
  });

  it("readers do not wait for a writer where there is a write-ahead log", async () => {
    const home = emptyHome();
    await keyctl(home, ["save", "--user", "alice", "--stdin"], { input: KEY });
    const other = await otherProgram(home);
    other.exec("PRAGMA journal_mode=WAL; BEGIN EXCLUSIVE; DELETE FROM api_keys");
    const run = await keyctl(home, ["--timeout", "5s", "get", "--user", "alice", "--stored", "--reveal"]);
    expect(run).toMatchObject({ code: 0, stdout: `${KEY}\n` });
  });

  it("a command is done as soon as the lock is free", async () => {
    const home = emptyHome();
    const other = await otherProgram(home);
    other.exec("BEGIN EXCLUSIVE");
    const running = keyctl(home, ["save", "--user", "alice", "--stdin"], { input: KEY });
    await Promise.race([running, sleep(700)]);
    other.exec("COMMIT");
    expect(await running).toMatchObject({ code: 0 });
  });
});

describe("writers that race", () => {
  it("change one row as often as they say they do, and never at once", async () => {
    const home = emptyHome();
    const programs = [1, 2, 3, 4].map(() => savingProgram(home, ["alice"], ":", "saves"));
    await Promise.all(programs.map((program) => program.saved(40)));
    await Promise.all(programs.map((program) => program.finish()));

    const changes = programs.reduce((sum, program) => sum + program.done(), 0);
    const database = await otherProgram(home);
    expect(database.prepare("SELECT user_id, revision FROM api_keys").all()).toEqual([
      { user_id: "alice", revision: changes },
    ]);
  });

  it("agree on one key when they start from an empty home", async () => {
    const home = emptyHome();
    const keys = Array.from({ length: 6 }, (_, index) => KEY.slice(0, -1) + index);
    const runs = await Promise.all(
      keys.map((key) => keyctl(home, ["get", "--user", "alice", "--reveal"], { env: { OPENROUTER_API_KEY: key } })),
    );
    expect(runs.map(({ code, stderr }) => (code === 0 ? 0 : stderr))).toEqual(keys.map(() => 0));
    const answers = new Set(runs.map(({ stdout }) => stdout));
    expect(answers.size).toBe(1);
    expect(keys.map((key) => `${key}\n`)).toContain([...answers][0]);
    expect((await keyctl(home, ["list", "--count"])).stdout).toBe("1\n");
  });
});
