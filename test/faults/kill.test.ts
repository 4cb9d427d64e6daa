import { createHash, randomInt } from "node:crypto";
import { cpSync, mkdtempSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { keyctl } from "../support/programs/keyctl.ts";
import { savingProgram } from "../support/programs/saving-program.ts";
import type { Change } from "../support/programs/saving-program.ts";
import { openFile } from "../support/sqlite/sqlite.ts";

const KILLS = 1_000;
const MUST_HIT = 300;
const HOMES = 10;
const ROUNDS = 5;
/** Lanes that write at the same time: a program of one lane recovers after a kill while the other lane writes. */
const LANES = 2;
const USERS = 50;

/** The possible content of the database for a user: the last change reported as done, or a change begun since then. */
type Possible = Map<string, Set<string>>;

interface Lane {
  readonly users: readonly string[];
  readonly possible: Possible;
}

it(`loses nothing in ${KILLS} kills, of which at least ${MUST_HIT} hit an open database`, async () => {
  const tally: Tally = { kills: 0, hits: 0 };
  for (let place = 0; place < HOMES; place += 1) {
    const home = emptyHome();
    const lanes = Array.from({ length: LANES }, (_, lane) => newLane(lane));
    for (let round = 0; round < ROUNDS; round += 1) {
      await Promise.all(lanes.map((lane) => killMany(home, lane, tally)));
      await expectWhole(home, new Map(lanes.flatMap(({ possible }) => [...possible])));
    }
  }
  console.log(`${tally.hits} of ${tally.kills} kills hit a process that had the database open`);
  expect(tally.kills).toBe(KILLS);
  expect(tally.hits).toBeGreaterThanOrEqual(MUST_HIT);
});

interface Tally {
  kills: number;
  /** Kills of a process between its opening of the database and its exit. */
  hits: number;
}

function newLane(lane: number): Lane {
  const users = Array.from({ length: USERS }, (_, index) => `user-${lane}-${index}`);
  return { users, possible: new Map(users.map((user) => [user, new Set(["nothing"])])) };
}

/** Starts programs one after the other and kills each at a random moment. */
async function killMany(home: Home, lane: Lane, tally: Tally): Promise<void> {
  for (let n = 0; n < KILLS / HOMES / ROUNDS / LANES; n += 1) await killOne(home, lane, tally);
}

/**
 * Half of the kills happen at any moment after the start, so that they also hit the opening; half of them during
 * writes.
 */
async function killOne(home: Home, { users, possible }: Lane, tally: Tally): Promise<void> {
  const program = savingProgram(home, users, ":", "changes");
  const waitsUntilOpen = randomInt(2) === 0;
  if (waitsUntilOpen) await program.opened();
  await Promise.race([sleep(randomInt(waitsUntilOpen ? 40 : 250)), program.ended]);
  const hadOpened = program.hasOpened();
  await program.kill();
  tally.kills += 1;
  if (hadOpened) tally.hits += 1;
  note(possible, program.begun, program.done());
}

function note(possible: Possible, begun: readonly Change[], done: number): void {
  for (const [index, { user, outcome }] of begun.entries()) {
    if (index < done) possible.set(user, new Set([outcome]));
    else possible.get(user)?.add(outcome);
  }
}

/**
 * Checks that the file is sound, every row opens with the key of its hash, and every user has the acknowledged content.
 */
async function expectWhole(home: Home, possible: Possible): Promise<void> {
  const { integrity, rows } = await readCopy(home);
  expect(integrity).toEqual([{ integrity_check: "ok" }]);

  const run = await keyctl(home, ["get", "--all", "--stored", "--reveal", "--json", "--allow-empty"]);
  expect([run.code, run.stderr]).toEqual([0, ""]);
  const opened = run.stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { type: string; user_id: string; key: string })
    .filter(({ type }) => type === "user");
  const hashes = new Map(opened.map(({ user_id, key }) => [user_id, createHash("sha256").update(key).digest("hex")]));
  expect(new Map(rows.map((row) => [row["user_id"], row["key_hash"]]))).toEqual(hashes);
  for (const [user, outcomes] of possible) expect([...outcomes]).toContain(hashes.get(user) ?? "nothing");
  for (const user of hashes.keys()) expect([...possible.keys()]).toContain(user);
}

/** Reads a recovered copy. The next program must recover the original itself, so this process must not open it. */
async function readCopy(home: Home) {
  const copy = mkdtempSync(join(home.folder, "copy-"));
  cpSync(dirname(home.database), copy, { recursive: true });
  const database = await openFile(join(copy, basename(home.database)));
  const integrity = database.prepare("PRAGMA integrity_check").all();
  const rows = database.prepare("SELECT user_id, key_hash FROM api_keys").all();
  database.close();
  return { integrity, rows };
}
