import { copyFileSync, cpSync, existsSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { Ports } from "../../src/compose.ts";
import { inTurn, leftovers, reconcileUntilQuiet } from "../support/faults/recovery-checks.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { inProcess } from "../support/programs/in-process.ts";
import { keyctl } from "../support/programs/keyctl.ts";
import { KEY } from "../support/fixtures/keys.ts";
import { madeKeys, sqliteStage, stored } from "../support/openrouter/made-keys.ts";
import type { Stage } from "../support/openrouter/made-keys.ts";
import { openManager } from "../support/memory/manager.ts";
import { homeOn } from "../support/mongodb/run.ts";
import { describeWithMongodb, emptyDatabase } from "../support/mongodb/of-test.ts";
import type { Database } from "../support/mongodb/of-test.ts";
import { openRouterServer } from "../support/openrouter/server.ts";
import { witnessed } from "../support/recording/port-calls.ts";
import { environmentFor } from "../support/recording/keyctl.ts";

/** A high number, because most of the time is spent waiting for a store that does not come back. */
const AT_ONCE = 40;
const LOGS = ["-wal", "-shm", "-journal"] as const;

const LAST = "after store.ping";
/** Written when the key is stored and reported: no key depends on it. */
const HISTORY = "store.addEvents";

const anotherOf = ({ folder }: Home) => join(folder, "another.db");
const olderOf = ({ folder }: Home) => join(folder, "older.db");

interface Removal {
  readonly takes: (home: Home) => void;
  /** The user's repair, according to the hint of the error that every command ends with. */
  readonly mends: (home: Home) => void;
  /** Whether the store after the repair knows the earlier store. */
  readonly isKin: boolean;
}

function putLogsAside({ database }: Home): void {
  for (const ending of LOGS)
    if (existsSync(database + ending)) renameSync(database + ending, `${database}${ending}.old`);
}

const REMOVALS: Readonly<Record<string, Removal>> = {
  unlinked: { takes: ({ database }) => rmSync(database), mends: putLogsAside, isKin: false },
  moved: {
    takes: ({ database }) => renameSync(database, `${database}.moved`),
    mends: ({ database }) => renameSync(`${database}.moved`, database),
    isKin: true,
  },
  "replaced by another one": {
    takes: (home) => renameSync(anotherOf(home), home.database),
    mends: putLogsAside,
    isKin: false,
  },
  "replaced by an older copy": {
    takes: (home) => renameSync(olderOf(home), home.database),
    mends: putLogsAside,
    isKin: true,
  },
};

/** A home with a store, a copy of that store, and another store. The tool creates it once; each run uses a copy. */
async function template(): Promise<Home> {
  const [home, other] = [emptyHome(), emptyHome()];
  for (const each of [home, other]) {
    expect((await keyctl(each, ["save", "-u", "zoë", "--stdin"], { input: KEY })).code).toBe(0);
  }
  copyFileSync(home.database, olderOf(home));
  copyFileSync(other.database, anotherOf(home));
  // Seals the other store with this home's master keys.
  const reseal = ["rekey", "--store", `sqlite:${anotherOf(home)}`];
  const env = { KEYCTL_MASTER_KEYS: JSON.stringify({ keys: [...keysOf(home), ...keysOf(other)] }) };
  expect((await keyctl(home, [...reseal, "--keep-key"], { env })).code).toBe(0);
  return home;
}

function keysOf({ masterKeys }: Home): readonly object[] {
  return (JSON.parse(readFileSync(masterKeys, "utf8")) as { keys: readonly object[] }).keys;
}

interface Ended {
  readonly moments: readonly string[];
  readonly code: string | null;
  readonly problems: readonly string[];
}

/** Runs a sync that creates a key, takes the database away at this moment, and returns the problems afterwards. */
async function run(from: Home, removal: Removal | undefined, at: number): Promise<Ended> {
  const home = emptyHome();
  cpSync(from.folder, home.folder, { recursive: true });
  const openRouter = await openRouterServer();
  try {
    const moments: string[] = [];
    let isOver = false;
    const comesTo = (moment: string) => {
      if (!isOver && moments.push(moment) === at) removal?.takes(home);
    };
    const manager = await openManager(home, environmentFor(openRouter), (ports) =>
      witnessed(ports, {
        begins: ({ name }) => (name === HISTORY ? undefined : comesTo(`before ${name}`)),
        ends: ({ name }) => (name === HISTORY ? undefined : comesTo(`after ${name}`)),
      }),
    );
    const { error } = await manager.syncAndGetKey("alice");
    const code = error?.code ?? null;
    isOver = true;
    await manager.close();
    if (removal === undefined) return { moments, code, problems: [] };
    removal.mends(home);
    const stage = sqliteStage(home, openRouter);
    // A database that is taken away after its last check was still there when the key was reported as saved.
    if (moments.length === at && moments.at(-1) === LAST) return { moments, code, problems: [] };
    return { moments, code, problems: await problemsOf(stage, removal, code) };
  } finally {
    await openRouter.close();
  }
}

async function problemsOf(stage: Stage, { isKin }: Removal, code: string | null): Promise<readonly string[]> {
  const { home, openRouter } = stage;
  const made = madeKeys(openRouter);
  const problems = [
    ...(code === "STORE_UNAVAILABLE" ? [] : [`it ended with ${code}`]),
    ...(made.length > 1 ? [`it made ${made.length} keys`] : []),
  ];
  const isWaiting = made.length > 0 && spooledHashes(home).includes(made[0] ?? "");
  const isStored = existsSync(home.database) && (await stored(stage)).rows.some(({ hash }) => made.includes(hash));
  if (existsSync(home.database)) await reconcileUntilQuiet(stage);
  const isRemoved = madeKeys(openRouter).length === 0;
  if (made.length > 0 && !isWaiting && !isStored && !isRemoved) problems.push("its key is lost");
  const sync = await inTurn(() => inProcess(home, ["sync", "-u", "alice"], { env: environmentFor(openRouter) }));
  const waiting = spooledHashes(home);
  // No second key is created while one waits in a file for the missing database.
  const expectedCode = !isKin && waiting.length > 0 ? 8 : 0;
  if (sync.code !== expectedCode) problems.push(`the next sync ends with ${sync.code}: ${sync.stderr}`);
  const expected = new Set([...(isKin ? [] : waiting), ...(await stored(stage)).rows.map(({ hash }) => hash)]);
  for (const hash of madeKeys(openRouter)) if (!expected.has(hash)) problems.push(`a key is nowhere: ${hash}`);
  if (!isKin) return problems;
  if (waiting.length > 0) problems.push("the key that waits was not brought in");
  await reconcileUntilQuiet(stage);
  return [...problems, ...(await leftovers(stage))];
}

function spooledHashes({ folder }: Home): readonly string[] {
  const spool = join(folder, "state", "keyctl", "spool");
  if (!existsSync(spool)) return [];
  return readdirSync(spool).map(
    (name) => (JSON.parse(readFileSync(join(spool, name), "utf8")) as { keyHash: string }).keyHash,
  );
}

it.each(Object.entries(REMOVALS))(
  "a database that is %s at any moment of a sync that makes a key: no key is lost, and none is bought into nowhere",
  async (how, removal) => {
    const home = await template();
    const whole = await run(home, undefined, 0);
    expect(whole.code).toBeNull();
    const problems: string[] = [];
    const queue = whole.moments.entries();
    let unspent = 0;
    const work = async () => {
      for (const [index, moment] of queue) {
        const { moments, problems: found, code } = await run(home, removal, index + 1);
        if (moments[index] !== moment) problems.push(`${moment} (${index + 1}) was not reached`);
        if (code === "STORE_UNAVAILABLE" && !moments.includes("before openRouter.open.withManagementKey.create"))
          unspent += 1;
        problems.push(...found.map((problem) => `${how} ${moment} (${index + 1}): ${problem}`));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    console.log(`${how}: ${whole.moments.length} moments, ${unspent} of them before a key was asked for`);
    expect(problems).toEqual([]);
    expect(whole.moments.at(-1)).toBe(LAST);
    expect(whole.moments.length).toBeGreaterThan(20);
    expect(unspent).toBeGreaterThan(5);
  },
);

const TAKEN: Readonly<Record<string, (database: Database) => Promise<unknown>>> = {
  dropped: ({ db }) => db.dropDatabase(),
  "replaced by that of another store": ({ db }) =>
    db
      .collection<{ _id: string }>("api_key_meta")
      .updateOne({ _id: "deployment" }, { $set: { value: "0123456789abcdef" } }),
};

/** Reports a moment before and after each call of the store. */
function atStoreCalls(comesTo: (moment: string) => Promise<unknown>): (ports: Ports) => Ports {
  return (ports) => {
    const store = new Proxy(ports.store, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name);
        const isCounted = !String(name).startsWith("scan") && `store.${String(name)}` !== HISTORY;
        if (typeof member !== "function" || !isCounted) return member;
        return async (...words: readonly unknown[]) => {
          await comesTo(`before store.${String(name)}`);
          const value: unknown = await member.apply(target, words);
          await comesTo(`after store.${String(name)}`);
          return value;
        };
      },
    });
    return { ...ports, store };
  };
}

async function runOnMongo(takes: ((database: Database) => Promise<unknown>) | undefined, at: number): Promise<Ended> {
  const database = emptyDatabase();
  const home = homeOn(database.uri);
  const openRouter = await openRouterServer();
  try {
    const init = await openManager(home);
    expect((await init.saveKeyToDb("zoë", KEY)).error).toBeNull();
    await init.close();
    const moments: string[] = [];
    let counts = false;
    const comesTo = async (moment: string) => {
      if (counts && moments.push(moment) === at) await takes?.(database);
    };
    const manager = await openManager(home, environmentFor(openRouter), atStoreCalls(comesTo));
    // The first call opens the store.
    await manager.check();
    counts = true;
    const { error } = await manager.syncAndGetKey("alice");
    counts = false;
    await manager.close();
    const code = error?.code ?? null;
    if (takes === undefined || (moments.length === at && moments.at(-1) === LAST))
      return { moments, code, problems: [] };
    const rows = await database.db.collection("api_keys").find().toArray();
    const known = new Set([...spooledHashes(home), ...rows.map((row) => String(row["key_hash"]))]);
    const lost = madeKeys(openRouter).filter((hash) => !known.has(hash));
    return {
      moments,
      code,
      problems: [
        ...(code === "STORE_UNAVAILABLE" ? [] : [`it ended with ${code}`]),
        ...lost.map((hash) => `a key is nowhere: ${hash}`),
      ],
    };
  } finally {
    await openRouter.close();
    await database.remove();
  }
}

describeWithMongodb("on a MongoDB server", () => {
  it.each(Object.entries(TAKEN))(
    "a database that is %s at any call of the store: no key is lost, and none is bought for it",
    async (how, takes) => {
      const whole = await runOnMongo(undefined, 0);
      expect([whole.code, whole.moments.at(-1)]).toEqual([null, LAST]);
      const problems: string[] = [];
      const queue = whole.moments.entries();
      const work = async () => {
        for (const [index, moment] of queue) {
          const { problems: found } = await runOnMongo(takes, index + 1);
          problems.push(...found.map((problem) => `${how} ${moment} (${index + 1}): ${problem}`));
        }
      };
      await Promise.all(Array.from({ length: 8 }, work));
      console.log(`${how}: ${whole.moments.length} moments`);
      expect(problems).toEqual([]);
    },
  );
});
