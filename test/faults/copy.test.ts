import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { rowsOf } from "../support/sqlite/database-file.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf } from "../support/programs/in-process.ts";
import { BIN, keyctl } from "../support/programs/keyctl.ts";
import { KEY } from "../support/fixtures/keys.ts";
import { databaseOfTest, describeWithMongodb } from "../support/mongodb/of-test.ts";

const KILLS = 40;
const KILLS_OVER_MONGODB = 12;
const ROWS = "SELECT * FROM api_keys ORDER BY user_id";

function fileOf(round: number): string {
  return `copy-${Math.floor(round / 4)}.db`;
}

async function homeOf(users: number): Promise<Home> {
  const home = emptyHome();
  const input = Array.from({ length: users }, (_, index) => `user-${index}`).join("\n");
  expect(await keyctl(home, ["sync", "--users-file", "-"], { env: { OPENROUTER_API_KEY: KEY }, input })).toMatchObject({
    code: 0,
  });
  return home;
}

/** Kills a copy after this time. Resolves to true if it was still running. */
async function killed(home: Home, to: string, afterMs: number): Promise<boolean> {
  const env = { ...home.environment, KEYCTL_COPY_TO: to };
  const child = spawn(process.execPath, [BIN, "copy", "--create", "--json"], { cwd: home.work, env, stdio: "ignore" });
  const ended = once(child, "exit");
  await Promise.race([sleep(afterMs), ended]);
  child.kill("SIGKILL");
  const [, signal] = await ended;
  return signal === "SIGKILL";
}

/** Kills copies at random moments within the duration of a complete copy. `to` names the destination of each round. */
async function killMany(home: Home, to: (round: number) => string, kills: number): Promise<number> {
  const started = Date.now();
  await keyctl(home, ["copy", "--create"], { env: { KEYCTL_COPY_TO: to(-1) } });
  const whole = Date.now() - started;
  let hits = 0;
  for (let round = 0; round < kills; round += 1) {
    if (await killed(home, to(round), Math.random() * whole)) hits += 1;
  }
  return hits;
}

it(`a copy that is killed ${KILLS} times leaves whole rows, and goes on to a whole copy`, async () => {
  const home = await homeOf(6_000);
  const hits = await killMany(home, (round) => `sqlite:${fileOf(round)}`, KILLS);
  expect(hits).toBeGreaterThan(KILLS / 4);
  const expected = rowsOf(home.database, ROWS);
  for (let round = 0; round < KILLS; round += 4) {
    const run = await keyctl(home, ["copy", "--create", "--json", "--to", `sqlite:${fileOf(round)}`]);
    expect(documentsOf(run)).toMatchObject([{ total: 6_000, done: 6_000, conflicts: 0, verified: 6_000, error: null }]);
    expect(rowsOf(join(home.work, fileOf(round)), "PRAGMA integrity_check")).toEqual([{ integrity_check: "ok" }]);
    expect(rowsOf(join(home.work, fileOf(round)), ROWS)).toEqual(expected);
  }
});

describeWithMongodb("over MongoDB", () => {
  it(`a copy that is killed ${KILLS_OVER_MONGODB} times goes on to a whole copy`, async () => {
    const home = await homeOf(2_000);
    const first = databaseOfTest();
    const { uri, db } = databaseOfTest();
    const hits = await killMany(home, (round) => (round < 0 ? first.uri : uri), KILLS_OVER_MONGODB);
    expect(hits).toBeGreaterThan(KILLS_OVER_MONGODB / 4);
    const run = await keyctl(home, ["copy", "--create", "--json"], { env: { KEYCTL_COPY_TO: uri } });
    expect(documentsOf(run)).toMatchObject([{ total: 2_000, done: 2_000, conflicts: 0, verified: 2_000, error: null }]);
    expect(await db.collection("api_keys").countDocuments()).toBe(2_000);
  });
});
