import { compose, readConfig } from "../../../src/compose.ts";
import type { Ports } from "../../../src/compose.ts";
import type { KeyRecord } from "../../../src/core/model/key-record.ts";
import type { HistoryEvent } from "../../../src/core/model/history-event.ts";
import type { EntryOf, Recorded } from "../../../src/core/ports/journal.ts";
import { silent } from "../../../src/core/model/log-event.ts";
import { change } from "../sqlite/database-file.ts";
import type { Home } from "../home/home.ts";
import type { Database } from "../mongodb/of-test.ts";
import type { OpenRouterServer } from "./server.ts";

/** The environment of commands: their home, their upstream, and a way to age their store. */
export interface Stage {
  readonly home: Home;
  readonly openRouter: OpenRouterServer;
  /** Moves the start of every operation two minutes back, so that none is fresh. */
  readonly age: () => Promise<void> | void;
  /** Moves everything that rotations have left to do into the past: every grace is over, and every limit was reset. */
  readonly passGraces: () => Promise<void> | void;
  /**
   * Moves the birth of every stored key into the past: a new key that is refused is not judged at once. Where changes of a row
   * are not atomic, nothing else may change one meanwhile.
   */
  readonly ageKeys: () => Promise<void> | void;
}

export function sqliteStage(home: Home, openRouter: OpenRouterServer): Stage {
  return {
    home,
    openRouter,
    age: () => ageOperations(home),
    passGraces: () => endGraces(home),
    ageKeys: () => {
      const old = `'${longAgo().toISOString()}'`;
      change(home.database, `PRAGMA busy_timeout = 5000; UPDATE api_keys SET created_at = ${old}`);
    },
  };
}

export function mongoStage(home: Home, openRouter: OpenRouterServer, { db }: Pick<Database, "db">): Stage {
  const journal = db.collection("api_key_journal");
  const age = async () => {
    for (const { _id, at } of await journal.find({ kind: "op" }).toArray()) {
      await journal.updateOne({ _id }, { $set: { at: new Date(Number(at) - 120_000) } });
    }
  };
  const passGraces = async () => {
    await journal.updateMany({ kind: "due" }, { $set: { retire_at: aMomentAgo() } });
    await db
      .collection("api_keys")
      .updateMany({ limit_due: { $ne: null } }, { $set: { "limit_due.at": aMomentAgo() } });
  };
  const ageKeys = async () => {
    await db.collection("api_keys").updateMany({}, { $set: { created_at: longAgo() } });
  };
  return { home, openRouter, age, passGraces, ageKeys };
}

function longAgo(): Date {
  return new Date(Date.now() - 3_600_000);
}

function aMomentAgo(): Date {
  return new Date(Date.now() - 1000);
}

export function ageOperations({ database }: Pick<Home, "database">): void {
  change(
    database,
    "PRAGMA busy_timeout = 5000; UPDATE api_key_journal SET at = strftime('%Y-%m-%dT%H:%M:%fZ', at, '-120 seconds') WHERE _id GLOB '*:op:*'",
  );
}

export function endGraces({ database }: Pick<Home, "database">): void {
  const at = `'${aMomentAgo().toISOString()}'`;
  change(
    database,
    `PRAGMA busy_timeout = 5000;
     UPDATE api_key_journal SET body = json_set(body, '$.retire_at', ${at}) WHERE _id GLOB '*:due:*';
     UPDATE api_keys SET limit_due = json_set(limit_due, '$.at', ${at}) WHERE limit_due IS NOT NULL`,
  );
}

/** The active keys upstream whose name was given by keyctl. */
export function madeKeys({ keys }: Pick<OpenRouterServer, "keys">): readonly string[] {
  return [...keys.values()].flatMap(({ hash, name, disabled }) =>
    name.startsWith("keyctl/") && !disabled ? [hash] : [],
  );
}

type Known = "generation" | "settled" | "limitDue" | "restrictions" | "autoRenewed" | "lastRenewalAt";

interface StoredKey extends Pick<KeyRecord, Known> {
  readonly user: string;
  readonly hash: string;
}

/** A key that was replaced with a grace. */
interface Grace {
  readonly user: string;
  readonly n: number;
  readonly hash: string;
  readonly retireAt: string;
  /** The time at which its deletion was decided; null: not yet. */
  readonly endedAt: string | null;
}

interface Stored {
  readonly rows: readonly StoredKey[];
  /** The keys that were replaced or purged, and kept upstream. */
  readonly kept: ReadonlySet<string>;
  /** The retired generations, such as `alice 1`. */
  readonly retired: ReadonlySet<string>;
  readonly graces: readonly Grace[];
  readonly blocked: ReadonlySet<string>;
  readonly journal: readonly Recorded[];
  readonly events: readonly HistoryEvent[];
}

export async function stored({ home }: Pick<Stage, "home">): Promise<Stored> {
  return withStore(home, async ({ store }) => {
    const rows: StoredKey[] = [];
    for await (const { userId, keyHash, ...row } of store.scan(patience)) {
      const { generation, settled, limitDue, restrictions, autoRenewed, lastRenewalAt } = row;
      const renewal = { autoRenewed, lastRenewalAt };
      rows.push({ user: userId, hash: keyHash ?? "", generation, settled, limitDue, restrictions, ...renewal });
    }
    const events: HistoryEvent[] = [];
    for await (const event of store.events({}, patience)) events.push(event);
    const blocked = new Set<string>();
    for await (const { userId } of store.scanBlocked(patience)) blocked.add(userId);
    const hashes = new Map<string, string>();
    const kept = new Set<string>();
    const retired = new Set<string>();
    const owed = new Set<string>();
    const dues: Recorded<EntryOf<"due">>[] = [];
    const ended = new Map<string, string>();
    const journal: Recorded[] = [];
    for await (const entry of store.scanJournal(patience)) {
      journal.push(entry);
      const name = `${entry.userId} ${entry.n}`;
      if (entry.kind === "out" && entry.outcome === "saved") hashes.set(name, entry.hash);
      if (entry.kind === "rev") retired.add(name);
      if (entry.kind === "due") dues.push(entry);
      if (entry.kind === "del") ended.set(name, entry.at);
      if (entry.kind === "del" || (entry.kind === "rev" && entry.revoke)) owed.add(name);
    }
    for (const [name, hash] of hashes) if (retired.has(name) && !owed.has(name)) kept.add(hash);
    const graces = dues.map(({ userId: user, n, retireAt }) => {
      const name = `${user} ${n}`;
      return { user, n, hash: hashes.get(name) ?? "", retireAt, endedAt: ended.get(name) ?? null };
    });
    return { rows, kept, retired, graces, blocked, journal, events };
  });
}

const patience = () => AbortSignal.timeout(20_000);

/** Opens the store of this home like a command. */
async function withStore<Result>(home: Home, work: (ports: Ports) => Promise<Result>): Promise<Result> {
  const config = readConfig(home.environment, {});
  const seen: Ports[] = [];
  const around = (ports: Ports) => {
    seen.push(ports);
    return ports;
  };
  const notices = { generated: () => {}, added: () => {}, readableByOthers: () => {}, guessable: () => {} };
  const options = { mayCreateStore: false, creates: true, creation: "", signal: patience(), around };
  const { manager } = await compose(config, { log: silent, notices }, options);
  try {
    const [ports] = seen;
    if (ports === undefined) throw new Error("nothing was composed");
    return await work(ports);
  } finally {
    await manager.close();
  }
}

/** The stored keys were created so long ago that a refusal is not the one of a new key. */
export function ageStoredKeys({ database }: Pick<Home, "database">): void {
  change(database, "PRAGMA busy_timeout = 5000; UPDATE api_keys SET created_at = '2026-11-01T00:00:00.000Z'");
}

/** All keys are deleted at OpenRouter, long after they were created. */
export function killKeys(home: Pick<Home, "database">, openRouter: OpenRouterServer): void {
  ageStoredKeys(home);
  for (const hash of openRouter.keys.keys()) openRouter.removeKey(hash);
}
