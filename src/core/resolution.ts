import { Candidates } from "./candidates.ts";
import type { ApiKey } from "./api-key.ts";
import { isKeyctlError, KeyctlError } from "./errors.ts";
import type { Journal } from "./journal.ts";
import { newRecord, storedValue, twoRows } from "./key-record.ts";
import type { KeyRecord } from "./key-record.ts";
import type { Log, Source } from "./log.ts";
import type { Clock, KeySource, KeyStore, Sealer } from "./ports.ts";
import { printable } from "./printable.ts";
import { insertRow, insertRows } from "./row-writes.ts";
import type { Purpose } from "./sealer-cache.ts";
import { syncFailed } from "./results.ts";
import type { SyncResult } from "./results.ts";
import { userFlag } from "./shell-quote.ts";
import type { UserId } from "./user-id.ts";

export interface Parts {
  readonly store: KeyStore;
  readonly journal: Journal;
  /** Proven master keys, fetched when the first key is sealed or opened. */
  readonly sealer: (purpose: Purpose, signal: AbortSignal) => Promise<Sealer>;
  /** Rejects as `sealer` would for sealing; makes and writes nothing. */
  readonly maySeal: (signal: AbortSignal) => Promise<void>;
  readonly sources: readonly KeySource[];
  readonly clock: Clock;
  readonly log: Log;
  /** Throws CONFIG_… errors: asked where a key may be made, and nowhere else. */
  readonly hasManagementKey: () => boolean;
}

/** How often a lost race begins anew before it is called a conflict. */
export const ATTEMPTS = 5;

/**
 * The law of resolution: database, then key.txt, then the environment, then a new key.
 * A key in the database wins and nothing is synced over it. Absent is not unavailable: a database that fails,
 * or a row that does not open, ends the search.
 */
export async function resolve(
  user: UserId,
  parts: Parts,
  autoProvision: boolean,
  signal: AbortSignal,
): Promise<SyncResult> {
  const { store, log } = parts;
  const making = autoProvision ? (parts.hasManagementKey() ? "cannot" : "no-management-key") : "off";
  log({ kind: "syncing", user });
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const row = await store.find(user, signal);
    const result =
      row === undefined ? await adopt(user, parts, making, signal) : await fromDatabase(row, parts, signal);
    if (result !== "lost") return result;
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
  for await (const batch of users) {
    const found = await resolveBatch(batch, parts, run);
    yield batch.map((user) => found.get(user) ?? syncFailed(user, noKey(user), run.candidates.warnings));
  }
}

/** A user whose insert lost, and whose winner was purged before it was read, is tried again. */
async function resolveBatch(
  batch: readonly UserId[],
  parts: Parts,
  { candidates, adopt: mayAdopt, patience }: Run,
): Promise<ReadonlyMap<UserId, SyncResult>> {
  const signal = patience();
  const found = new Map<UserId, SyncResult>();
  const missing = () => batch.filter((user) => !found.has(user));
  const adopts = mayAdopt && candidates.winner !== undefined;
  for (let attempt = 0; attempt < (adopts ? ATTEMPTS : 1) && found.size < batch.length; attempt += 1) {
    if (adopts) for (const result of await insertMissing(missing(), parts, candidates, signal)) found.set(...result);
    for (const result of await storedResults(missing(), parts, candidates, signal)) found.set(...result);
  }
  return found;
}

/** What the database alone holds for a user. */
export async function resolveStored(user: UserId, parts: Parts, signal: AbortSignal): Promise<SyncResult> {
  const results = await storedResults([user], parts, await Candidates.read([]), signal);
  return results.get(user) ?? syncFailed(user, noKey(user));
}

/** The key in a row. Throws ROW_UNREADABLE, MASTER_KEY_MISSING, MASTER_KEY_WRONG. */
export async function openRow(row: KeyRecord, { sealer, log }: Parts, signal: AbortSignal): Promise<ApiKey> {
  const value = storedValue(row.keyEncrypted);
  if (value.kind === "clear") return value.key;
  try {
    if (value.kind === "sealed") {
      return (await sealerFor(row.keyEncrypted, sealer, signal)).open(row.keyEncrypted, row.userId);
    }
    throw new KeyctlError("ROW_UNREADABLE", `what is stored for user ${printable(row.userId)} is not a key`, {
      hint: `keyctl save ${userFlag(row.userId)} --replace`,
    });
  } catch (thrown) {
    if (isKeyctlError(thrown) && thrown.code === "ROW_UNREADABLE") log({ kind: "malformed", from: "database" });
    throw thrown;
  }
}

/** A value that names a master key which is not at hand is reason to look for it again: a rekey may be under way. */
async function sealerFor(value: string, sealer: Parts["sealer"], signal: AbortSignal): Promise<Sealer> {
  const known = await sealer("open", signal);
  const kid = known.kidOf(value);
  return kid === undefined || known.kids.includes(kid) ? known : sealer({ kid }, signal);
}

export function contended(user: UserId): KeyctlError {
  return new KeyctlError("CONFLICT", `the key of user ${printable(user)} keeps changing`, {
    hint: "another program is changing it; try again when it is done",
    retryable: true,
  });
}

async function fromDatabase(row: KeyRecord, parts: Parts, signal: AbortSignal): Promise<SyncResult> {
  const { log } = parts;
  const key = await openRow(row, parts, signal);
  log({ kind: "loaded", from: "database", key });
  const candidates = await Candidates.readBeside(parts.sources);
  candidates.tell(log, (from, other) => {
    if (!other.equals(key)) log({ kind: "differs", from });
  });
  log({ kind: "using", source: "database" });
  log({ kind: "complete" });
  return answer(row, key, "database", candidates);
}

async function adopt(user: UserId, parts: Parts, making: Making, signal: AbortSignal): Promise<SyncResult | "lost"> {
  const { store, log } = parts;
  const candidates = await Candidates.read(parts.sources);
  const { winner } = candidates;
  candidates.tell(log, (from, key) => {
    if (from === winner?.name) log({ kind: "loaded", from, key });
  });
  if (winner === undefined) return withoutKey(user, parts, candidates, making);

  const { key, name } = winner;
  const record = sealed(user, key, name, await parts.sealer("seal", signal), parts.clock);
  if (!(await insertRow(store, record, signal))) return "lost";
  log({ kind: "saved", origin: name, key });
  log({ kind: "using", source: name });
  log({ kind: "synced" });
  log({ kind: "complete" });
  return answer(record, key, name, candidates);
}

/** Whether a key would be made now, and why not. */
type Making = "off" | "no-management-key" | "cannot";

function withoutKey(user: UserId, { log }: Parts, { warnings }: Candidates, making: Making): SyncResult {
  log({ kind: "none-found" });
  if (making !== "off") log({ kind: "provisioning" });
  if (making === "cannot") log({ kind: "provision-failed", reason: "this version cannot make keys" });
  if (making === "no-management-key") log({ kind: "no-management-key" });
  log({ kind: "no-key" });
  return syncFailed(user, noKey(user), warnings);
}

async function insertMissing(
  batch: readonly UserId[],
  parts: Parts,
  candidates: Candidates,
  signal: AbortSignal,
): Promise<ReadonlyMap<UserId, SyncResult>> {
  const { winner } = candidates;
  if (winner === undefined || batch.length === 0) return new Map();
  const { name, key } = winner;
  const sealer = await parts.sealer("seal", signal);
  const records = batch.map((user) => sealed(user, key, name, sealer, parts.clock));
  const won = await insertRows(parts.store, records, signal);
  return new Map(
    records.filter((_, index) => won[index]).map((record) => [record.userId, answer(record, key, name, candidates)]),
  );
}

async function storedResults(
  users: readonly UserId[],
  parts: Parts,
  candidates: Candidates,
  signal: AbortSignal,
): Promise<ReadonlyMap<UserId, SyncResult>> {
  if (users.length === 0) return new Map();
  const results = new Map<UserId, SyncResult>();
  const seen = new Map<UserId, KeyRecord>();
  for (const row of await parts.store.findMany(users, signal)) {
    const twin = seen.get(row.userId);
    seen.set(row.userId, row);
    results.set(
      row.userId,
      twin === undefined
        ? await storedResult(row, parts, candidates, signal)
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
  signal: AbortSignal,
): Promise<SyncResult> {
  if (storedValue(row.keyEncrypted).kind === "sealed") await parts.sealer("open", signal);
  try {
    return answer(row, await openRow(row, parts, signal), "database", candidates);
  } catch (thrown) {
    if (isKeyctlError(thrown)) return syncFailed(row.userId, thrown);
    throw thrown;
  }
}

function sealed(user: UserId, key: ApiKey, origin: string, sealer: Sealer, clock: Clock): KeyRecord {
  return newRecord(user, key, sealer.seal(key, user), origin, clock.now().toISOString());
}

function answer(row: KeyRecord, key: ApiKey, source: Source, candidates: Candidates): SyncResult {
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

export function noKey(user: UserId): KeyctlError {
  return new KeyctlError("NO_KEY", `no key for user ${printable(user)}`, { hint: `keyctl save ${userFlag(user)}` });
}
