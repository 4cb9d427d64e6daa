import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it, onTestFinished } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { jwkSet, newJwk } from "../support/fixtures/jwk.ts";
import { keyctl } from "../support/programs/keyctl.ts";
import { databaseOfTest, describeWithMongodb } from "../support/mongodb/of-test.ts";
import { openFile } from "../support/sqlite/sqlite.ts";

const RACER = fileURLToPath(new URL("../support/sqlite/journal-child.mjs", import.meta.url));
const PROCESSES = 20;
const EVERYBODY = Array.from({ length: PROCESSES }, (_, index) => index);

function keyOf(index: number): string {
  return `sk-or-v1-${String(index).padStart(64, "0")}`;
}

/** `get` syncs like `sync`, and prints the resulting key. */
function sync(home: Home, user: string, key: string) {
  return keyctl(home, ["get", "--user", user, "--reveal"], { env: { OPENROUTER_API_KEY: key } });
}

async function rowsOf(home: Home) {
  const database = await openFile(home.database);
  onTestFinished(() => database.close());
  expect(database.prepare("PRAGMA integrity_check").all()).toEqual([{ integrity_check: "ok" }]);
  return database.prepare("SELECT user_id, revision FROM api_keys ORDER BY user_id").all();
}

it.each([1, 2, 3, 4, 5])("20 processes that sync one user from an empty home agree on one key, round %d", async () => {
  const home = emptyHome();
  const runs = await Promise.all(EVERYBODY.map((index) => sync(home, "alice", keyOf(index))));
  expect(runs.filter(({ code }) => code !== 0).map(({ stderr }) => stderr)).toEqual([]);
  const answers = [...new Set(runs.map(({ stdout }) => stdout))];
  expect(answers.length).toBe(1);
  expect(EVERYBODY.map((index) => `${keyOf(index)}\n`)).toContain(answers[0]);
  expect(await rowsOf(home)).toEqual([{ user_id: "alice", revision: 1 }]);
  const told = runs.filter(({ stderr }) => stderr.includes("note: created the first master key"));
  expect(told.length).toBe(1);
});

it.each([1, 2, 3, 4, 5])("20 processes that sync 20 users from an empty home lose nothing, round %d", async () => {
  const home = emptyHome();
  const runs = await Promise.all(EVERYBODY.map((index) => sync(home, `user-${index}`, keyOf(index))));
  expect(runs.map(({ code, stdout, stderr }) => (code === 0 ? stdout : stderr))).toEqual(
    EVERYBODY.map((index) => `${keyOf(index)}\n`),
  );
  const again = await Promise.all(
    EVERYBODY.map((index) => keyctl(home, ["get", "--user", `user-${index}`, "--stored", "--reveal"])),
  );
  expect(again.map(({ stdout }) => stdout)).toEqual(EVERYBODY.map((index) => `${keyOf(index)}\n`));
  expect((await rowsOf(home)).length).toBe(PROCESSES);
});

function sharedHome() {
  const { uri, db } = databaseOfTest();
  const home = emptyHome();
  const shared = { KEYCTL_STORE: uri, KEYCTL_CREATE_STORE: "1", KEYCTL_MASTER_KEYS: jwkSet(newJwk()) };
  const environment = { ...home.environment, ...shared };
  return { home: { ...home, environment }, keys: db.collection("api_keys"), meta: db.collection("api_key_meta") };
}

/** The report of one process that has tried to win operations of one user. */
interface Racer {
  readonly won: readonly number[];
  /** The nonces that the process read at its end, by operation number. */
  readonly seen: readonly string[];
  readonly deployment: string;
}

const OPERATIONS = 100;

async function raceForOperations(home: Home): Promise<readonly Racer[]> {
  const gate = join(home.folder, "gate");
  mkdirSync(gate);
  const runs = await Promise.all(
    EVERYBODY.map((index) => {
      const env = {
        RACE_OPERATIONS: String(OPERATIONS),
        RACE_NONCE: nonceOf(index),
        RACE_GATE: gate,
        RACE_PROCESSES: String(PROCESSES),
      };
      return keyctl(home, ["get", "--user", "alice", "--quiet", "--timeout", "5m"], { env }, RACER);
    }),
  );
  expect(runs.filter(({ code }) => code !== 3).map(({ stderr }) => stderr)).toEqual([]);
  return runs.map(({ stdout }) => JSON.parse(stdout) as Racer);
}

function nonceOf(index: number): string {
  return String(index).padStart(16, "0");
}

/** Each operation was won by one process, and all processes read the nonce of that winner. */
function expectOneWinnerEach(racers: readonly Racer[]): void {
  const numbers = Array.from({ length: OPERATIONS }, (_, index) => index + 1);
  expect(racers.flatMap(({ won }) => won).toSorted((one, other) => one - other)).toEqual(numbers);
  const winners = numbers.map((n) => nonceOf(racers.findIndex(({ won }) => won.includes(n))));
  expect(racers.map(({ seen }) => seen)).toEqual(racers.map(() => winners));
  expect(new Set(racers.map(({ deployment }) => deployment)).size).toBe(1);
}

it.each([1, 2, 3])("of 20 processes that want an operation one wins it, round %d", async () => {
  expectOneWinnerEach(await raceForOperations(emptyHome()));
});

describeWithMongodb("over MongoDB", () => {
  it.each([1, 2, 3])("20 processes that sync one user in an empty database agree on one key, round %d", async () => {
    const { home, keys, meta } = sharedHome();
    const runs = await Promise.all(EVERYBODY.map((index) => sync(home, "alice", keyOf(index))));
    expect(runs.filter(({ code }) => code !== 0).map(({ stderr }) => stderr)).toEqual([]);
    const answers = [...new Set(runs.map(({ stdout }) => stdout))];
    expect(answers.length).toBe(1);
    expect(EVERYBODY.map((index) => `${keyOf(index)}\n`)).toContain(answers[0]);
    expect(await keys.countDocuments()).toBe(1);
    expect(await meta.countDocuments({ _id: { $regex: "^check:" } } as object)).toBe(1);
  });

  it.each([1, 2])("of 20 processes that want an operation one wins it, round %d", async () => {
    expectOneWinnerEach(await raceForOperations(sharedHome().home));
  });

  it.each([1, 2])("20 processes that sync 20 users in an empty database lose nothing, round %d", async () => {
    const { home, keys } = sharedHome();
    const runs = await Promise.all(EVERYBODY.map((index) => sync(home, `user-${index}`, keyOf(index))));
    expect(runs.map(({ code, stdout, stderr }) => (code === 0 ? stdout : stderr))).toEqual(
      EVERYBODY.map((index) => `${keyOf(index)}\n`),
    );
    expect(await keys.countDocuments()).toBe(PROCESSES);
  });
});
