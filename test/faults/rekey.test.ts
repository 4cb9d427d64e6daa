import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { openJwe } from "../../src/encryption/jwe.ts";
import { parseMasterKeys } from "../../src/encryption/jwk-set.ts";
import { withDatabase } from "../support/sqlite/database.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf } from "../support/programs/in-process.ts";
import { BIN, keyctl } from "../support/programs/keyctl.ts";
import { keyEnding } from "../support/fixtures/keys.ts";
import { databaseOfTest, describeWithMongodb } from "../support/mongodb/of-test.ts";
import { readersOf } from "../support/programs/readers.ts";

const WATCHED = fileURLToPath(new URL("../support/faults/watched-keyctl.mjs", import.meta.url));
const KILLS = 50;

function keysOf(users: number): ReadonlyMap<string, string> {
  const keys = Array.from({ length: users }, (_, index) => keyEnding(String(index).padStart(4, "0")));
  return new Map(keys.map((key, index) => [`user-${index}`, key]));
}

/** A store whose rows another program has written in plain text. The campaign seals them. */
interface Place {
  readonly keys: ReadonlyMap<string, string>;
  readonly home: Home;
  readonly env: Readonly<Record<string, string>>;
  readonly masterKeys: string;
  /** The stored value of each user. */
  readonly values: () => Promise<ReadonlyMap<string, string>>;
}

async function embedded(): Promise<Place> {
  const keys = keysOf(400);
  const home = emptyHome();
  expect((await keyctl(home, ["rekey", "--init"])).code).toBe(0);
  await withDatabase(home, (database) => {
    const insert = database.prepare(
      `INSERT INTO api_keys (_id, user_id, provider, key_encrypted, source, created_at, updated_at, generation, settled)
       VALUES (?, ?, 'openrouter', ?, 'manual', '2025-10-05T09:00:00.000Z', '2025-10-05T09:00:00.000Z', 0, 1)`,
    );
    database.exec("BEGIN");
    for (const [user, key] of keys) insert.run(`id-${user}`, user, key);
    database.exec("COMMIT");
  });
  const values = () =>
    withDatabase(home, (database) => {
      expect(database.prepare("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
      const rows = database.prepare("SELECT user_id, key_encrypted FROM api_keys").all();
      return new Map(rows.map((row) => [String(row["user_id"]), String(row["key_encrypted"])]));
    });
  return { keys, home, env: { KEYCTL_REQUIRE_SEALED: "0" }, masterKeys: home.masterKeys, values };
}

/** Few rows, because FerretDB 1 scans all rows for each change of one. */
async function shared(): Promise<Place> {
  const keys = keysOf(50);
  const home = emptyHome();
  const { uri, db } = databaseOfTest();
  const masterKeys = join(home.folder, "keys.json");
  const env = { KEYCTL_STORE: uri, KEYCTL_MASTER_KEYS_FILE: masterKeys, KEYCTL_ALLOW_NON_ATOMIC_STORE: "1" };
  const rows = db.collection("api_keys");
  await rows.insertMany([...keys].map(([user, key]) => ({ user_id: user, key_encrypted: key })));
  expect((await keyctl(home, ["rekey", "--init"], { env })).code).toBe(0);
  const values = async () =>
    new Map((await rows.find({}).toArray()).map((row) => [String(row["user_id"]), String(row["key_encrypted"])]));
  return { keys, home, env, masterKeys, values };
}

/** Kills a rekey before or after it writes a random row. Resolves to false if it had finished before. */
async function killedAtARow({ home, env, keys }: Place): Promise<boolean> {
  const at = `store.replace#${randomInt(1, keys.size / 2)} ${randomInt(2) === 0 ? "before" : "after"}`;
  const watch = { WATCH_CALLS: join(home.folder, "calls"), WATCH_SIGNAL: "SIGKILL", WATCH_AT: at };
  const run = await keyctl(home, ["rekey", "--json"], { env: { ...env, ...watch } }, WATCHED);
  if (run.signal !== "SIGKILL") expect(run).toMatchObject({ code: 0 });
  return run.signal === "SIGKILL";
}

/** Kills a rekey at a random moment. Resolves to false if it had finished before. */
async function killedAtAnyMoment({ home, env, masterKeys }: Place): Promise<boolean> {
  const child = spawn(process.execPath, [BIN, "rekey", "-q"], {
    cwd: home.work,
    env: { ...home.environment, ...env },
    stdio: "ignore",
  });
  const ended = new Promise<NodeJS.Signals | null>((resolve) => child.once("close", (_, signal) => resolve(signal)));
  await Promise.race([sleep(randomInt(40, 400)), ended]);
  child.kill("SIGKILL");
  // Removes the lock file, like a user after the error of the next rekey.
  const isKilled = (await ended) === "SIGKILL";
  if (existsSync(`${masterKeys}.lock`)) rmSync(`${masterKeys}.lock`);
  return isKilled;
}

/** Kills KILLS rekeys while other programs read. Then one undisturbed rekey finishes the work. */
async function campaign(place: Place, kill: (place: Place) => Promise<boolean>): Promise<void> {
  const { keys, home, env, masterKeys, values } = place;
  const readers = readersOf(home, keys, env);
  for (let kills = 0; kills < KILLS;) if (await kill(place)) kills += 1;
  const last = await keyctl(home, ["rekey", "--json"], { env });
  const { reads, failures } = await readers.finish();
  expect(failures).toEqual([]);
  console.log(`${reads} reads beside ${KILLS} kills`);
  expect(reads).toBeGreaterThan(KILLS);

  const [master] = parseMasterKeys(readFileSync(masterKeys, "utf8"));
  expect(documentsOf(last)).toMatchObject([
    { total: keys.size, done: keys.size, unreadable: 0, active_kid: master.kid, complete: true, error: null },
  ]);
  const active = new Map([[master.kid, master]]);
  const opened = [...(await values())].map(([user, value]) => {
    const result = openJwe(value, active, { sub: user, prv: "openrouter" });
    return [user, result.status === "open" ? result.text : result.status] as const;
  });
  expect(new Map(opened)).toEqual(keys);
}

describe("a rekey of the embedded store", () => {
  it(`that is killed at ${KILLS} random rows makes no read fail, and the next one goes on`, async () => {
    await campaign(await embedded(), killedAtARow);
  });

  it(`that is killed at ${KILLS} random moments makes no read fail, and the next one goes on`, async () => {
    await campaign(await embedded(), killedAtAnyMoment);
  });
});

describeWithMongodb("a rekey over MongoDB", () => {
  it(`that is killed at ${KILLS} random rows makes no read fail, and the next one goes on`, async () => {
    await campaign(await shared(), killedAtARow);
  });
});
