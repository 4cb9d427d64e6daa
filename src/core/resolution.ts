import { Candidates } from "./candidates.ts";
import type { ApiKey } from "./api-key.ts";
import type { Adoption, Attempt } from "./auto-provisioning.ts";
import { isKeyctlError, KeyctlError } from "./errors.ts";
import type { Journal } from "./journal.ts";
import { newRecord, storedValue, twoRows } from "./key-record.ts";
import type { KeyRecord } from "./key-record.ts";
import type { Log, Source } from "./log.ts";
import type { Stage } from "./makings.ts";
import type { ManagementKey } from "./management-key.ts";
import { openForUse } from "./open-row.ts";
import type { Clock, KeySource, KeyStore, Sealer } from "./ports.ts";
import { printable } from "./printable.ts";
import type { GivenKey } from "./protocol/given-key.ts";
import type { AccountOnUse } from "./protocol/account-on-use.ts";
import type { ProvisioningRules } from "./provisioning.ts";
import type { Purpose } from "./sealer-cache.ts";
import { syncFailed } from "./results.ts";
import type { SyncedKey, SyncResult } from "./results.ts";
import type { Spool } from "./spool.ts";
import type { OpenRouterOnUse } from "./upstream.ts";
import type { UserId } from "./user-id.ts";

export interface Parts {
  readonly store: KeyStore;
  readonly journal: Journal;
  /** Where a key waits that was made and could not be stored. */
  readonly spool: Spool;
  /** Proven master keys, fetched when the first key is sealed or opened. */
  readonly sealer: (purpose: Purpose, signal: AbortSignal) => Promise<Sealer>;
  /** Rejects as `sealer` would for sealing; makes and writes nothing. */
  readonly maySeal: (signal: AbortSignal) => Promise<void>;
  readonly sources: readonly KeySource[];
  readonly clock: Clock;
  readonly log: Log;
  readonly openRouter: OpenRouterOnUse;
  /** Undefined when there is none. Throws CONFIG_… errors. */
  readonly managementKey: () => ManagementKey | undefined;
  readonly account: AccountOnUse;
  /** Throws CONFIG_… errors: asked where a key may be made, and nowhere else. */
  readonly hasManagementKey: () => boolean;
  /** The hashes of all management keys that are configured, as far as they can be read now. Throws nothing. */
  readonly managementKeyHashes: () => ReadonlySet<string>;
  readonly provisioning: ProvisioningRules;
}

/** How often a lost race begins anew before it is called a conflict. */
export const ATTEMPTS = 5;

/** How a resolution that may end in a new key is watched. */
export interface Resolving {
  readonly autoProvision: boolean;
  /** A person asked for keys, so that the hourly cap does not count one that is created. */
  readonly isDeliberate: boolean;
  /** Told what is waited for; from the first on a key may exist: the work goes on by itself then, whoever stops waiting. */
  readonly onStage: (stage: Stage) => void;
}

/**
 * The law of resolution: database, then key.txt, then the environment, then a new key.
 * A key in the database wins and nothing is synced over it. Absent is not unavailable: a database that fails,
 * or a row that does not open, ends the search.
 */
export async function resolve(
  user: UserId,
  parts: Parts,
  { autoProvision, isDeliberate, onStage }: Resolving,
  signal: AbortSignal,
): Promise<SyncResult> {
  const { store, log } = parts;
  const permission = autoProvision ? (parts.hasManagementKey() ? "may" : "no-management-key") : "off";
  await importSpooled(user, parts, signal);
  log({ kind: "syncing", user });
  const attempt: Attempt = { permission, isDeliberate, onStage, tries: 0 };
  let row = await store.find(user, signal);
  for (let tries = 0; tries < ATTEMPTS; tries += 1) {
    const result =
      row === undefined ? await adopt(user, parts, attempt, signal) : await fromDatabase(row, parts, signal);
    if (result !== "lost" && "error" in result) return result;
    row = result === "lost" ? await store.find(user, signal) : result.row;
  }
  throw contended(user);
}

/** What many users of one run are given: the sources are read once, before it. */
export interface Run {
  readonly candidates: Candidates;
  /** False: a user without a row stays without one. */
  readonly adopt: boolean;
  readonly patience: () => AbortSignal;
}

/** As `resolve`, for many users: what is missing is inserted first, then the losers are read in one query. */
export async function* resolveMany(
  users: AsyncIterable<readonly UserId[]>,
  parts: Parts,
  run: Run,
): AsyncGenerator<readonly SyncResult[]> {
  for await (const batch of users) yield await resolveBatch(batch, parts, run);
}

/** A user whose insert lost, and whose winner was purged before it was read, is tried again. */
async function resolveBatch(
  batch: readonly UserId[],
  parts: Parts,
  { candidates, adopt: mayAdopt, patience }: Run,
): Promise<readonly SyncResult[]> {
  const signal = patience();
  const found = new Map<UserId, SyncResult>(mayAdopt ? await importedFailures(batch, parts, signal) : []);
  const missing = () => batch.filter((user) => !found.has(user));
  let usable: Usable = { candidates, given: null };
  for (let attempt = 0; attempt < ATTEMPTS && found.size < batch.length; attempt += 1) {
    if (mayAdopt) usable = await usableOf(candidates, parts, signal);
    for (const result of await insertMissing(missing(), parts, usable, signal)) found.set(...result);
    const stored = await storedResults(missing(), parts, candidates, signal);
    for (const [user, result] of stored) if (result !== "lost") found.set(user, result);
    if (usable.given === null && ![...stored.values()].includes("lost")) break;
  }
  return batch.map(
    (user) => found.get(user) ?? syncFailed(user, usable.candidates.noKey(user), usable.candidates.warnings),
  );
}

/** What the database alone holds for a user. */
export async function resolveStored(user: UserId, parts: Parts, signal: AbortSignal): Promise<SyncResult> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const candidates = await Candidates.read([]);
    const results = await storedResults([user], parts, candidates, signal);
    const result = results.get(user) ?? syncFailed(user, candidates.noKey(user));
    if (result !== "lost") return result;
  }
  throw contended(user);
}

export function contended(user: UserId): KeyctlError {
  return new KeyctlError("CONFLICT", `the key of user ${printable(user)} keeps changing`, {
    hint: "another program is changing it; try again when it is done",
    retryable: true,
  });
}

async function fromDatabase(row: KeyRecord, parts: Parts, signal: AbortSignal): Promise<SyncResult | "lost"> {
  const { log } = parts;
  if (!(await isInUse(row, parts, signal))) return "lost";
  const key = await openForUse(row, parts, signal);
  log({ kind: "loaded", from: "database", key });
  const candidates = await Candidates.readBeside(parts.sources);
  candidates.tell(log, (from, other) => {
    if (!other.equals(key)) log({ kind: "differs", from });
  });
  log({ kind: "using", source: "database" });
  log({ kind: "complete" });
  return answer(row, key, "database", candidates);
}

/** A settled row costs its reader one read. */
async function isInUse(row: KeyRecord, parts: Parts, signal: AbortSignal): Promise<boolean> {
  if (row.settled || row.generation === 0) return true;
  const { isCurrent } = await import("./settling.ts");
  return isCurrent(row, parts, signal);
}

async function adopt(user: UserId, parts: Parts, attempt: Attempt, signal: AbortSignal): Promise<Adoption> {
  const { log } = parts;
  const { candidates, given } = await usableOf(await Candidates.read(parts.sources), parts, signal);
  const { winner } = candidates;
  if (attempt.tries === 0) {
    candidates.tell(log, (from, key) => {
      if (from === winner?.name) log({ kind: "loaded", from, key });
    });
  }
  if (winner === undefined || given === null) {
    const { withoutKey } = await import("./auto-provisioning.ts");
    return withoutKey(user, parts, candidates, attempt, signal);
  }

  const { key, name } = winner;
  const record = sealed(user, key, name, await parts.sealer("seal", signal), parts.clock);
  const { insertGiven } = await import("./protocol/given-key.ts");
  if (!(await insertGiven(record, given, parts, signal))) return "lost";
  log({ kind: "saved", origin: name, key });
  log({ kind: "using", source: name });
  log({ kind: "synced" });
  log({ kind: "complete" });
  return answer(record, key, name, candidates);
}

/** The sources, and what the journal says of the winner's key, which may be stored; null where there is no winner. */
interface Usable {
  readonly candidates: Candidates;
  readonly given: GivenKey | null;
}

/** Passes over a source whose key is to be deleted at OpenRouter. One query for each text of a key, however many users. */
async function usableOf(candidates: Candidates, { journal }: Parts, signal: AbortSignal): Promise<Usable> {
  if (candidates.winner === undefined) return { candidates, given: null };
  const { lookUpWinner } = await import("./protocol/given-key.ts");
  return lookUpWinner(candidates, journal, signal);
}

/** Keys that were made here and could not be stored come first. */
export async function importSpooled(user: UserId, parts: Parts, signal: AbortSignal): Promise<void> {
  if (!parts.spool.mayHoldKeys()) return;
  const { importSpool } = await import("./spool-import.ts");
  await importSpool(user, parts, signal);
}

/** `importSpooled` for many. A file that is damaged is its user's error. */
async function importedFailures(
  batch: readonly UserId[],
  parts: Parts,
  signal: AbortSignal,
): Promise<readonly (readonly [UserId, SyncResult])[]> {
  const failures: (readonly [UserId, SyncResult])[] = [];
  for (const user of parts.spool.mayHoldKeys() ? batch : []) {
    try {
      await importSpooled(user, parts, signal);
    } catch (thrown) {
      if (!isKeyctlError(thrown) || thrown.code !== "ROW_UNREADABLE") throw thrown;
      failures.push([user, syncFailed(user, thrown)]);
    }
  }
  return failures;
}

async function insertMissing(
  batch: readonly UserId[],
  parts: Parts,
  { candidates, given }: Usable,
  signal: AbortSignal,
): Promise<ReadonlyMap<UserId, SyncResult>> {
  const { winner } = candidates;
  if (winner === undefined || given === null || batch.length === 0) return new Map();
  const { name, key } = winner;
  const sealer = await parts.sealer("seal", signal);
  const records = batch.map((user) => sealed(user, key, name, sealer, parts.clock));
  const { insertGivenToMany } = await import("./protocol/given-key.ts");
  const won = await insertGivenToMany(records, given, parts, signal);
  return new Map(
    records.filter((_, index) => won[index]).map((record) => [record.userId, answer(record, key, name, candidates)]),
  );
}

async function storedResults(
  users: readonly UserId[],
  parts: Parts,
  candidates: Candidates,
  signal: AbortSignal,
): Promise<ReadonlyMap<UserId, SyncResult | "lost">> {
  if (users.length === 0) return new Map();
  const results = new Map<UserId, SyncResult | "lost">();
  const seen = new Map<UserId, KeyRecord>();
  const managementKeys = parts.managementKeyHashes();
  for (const row of await parts.store.findMany(users, signal)) {
    const twin = seen.get(row.userId);
    seen.set(row.userId, row);
    results.set(
      row.userId,
      twin === undefined
        ? await storedResult(row, parts, candidates, managementKeys, signal)
        : syncFailed(row.userId, twoRows(twin, row)),
    );
  }
  return results;
}

/** A row that does not open, or not with the master keys that are here, is its user's error; no or wrong master keys are everybody's. */
async function storedResult(
  row: KeyRecord,
  parts: Parts,
  candidates: Candidates,
  managementKeys: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<SyncResult | "lost"> {
  if (!(await isInUse(row, parts, signal))) return "lost";
  if (storedValue(row.keyEncrypted).kind === "sealed") await parts.sealer("open", signal);
  try {
    return answer(row, await openForUse(row, parts, signal, managementKeys), "database", candidates);
  } catch (thrown) {
    if (isKeyctlError(thrown)) return syncFailed(row.userId, thrown);
    throw thrown;
  }
}

function sealed(user: UserId, key: ApiKey, origin: string, sealer: Sealer, clock: Clock): KeyRecord {
  return newRecord(user, key, sealer.seal(key, user), origin, clock.now().toISOString());
}

export function answer(row: KeyRecord, key: ApiKey, source: Source, candidates: Candidates): SyncedKey {
  return {
    userId: row.userId,
    key,
    keyHash: key.hash,
    source,
    origin: row.origin,
    synced: source !== "database",
    createdAt: row.createdAt,
    lastCheck: row.lastCheck,
    ...candidates.shadowedBy(key),
    warnings: candidates.warnings,
    error: null,
  };
}
