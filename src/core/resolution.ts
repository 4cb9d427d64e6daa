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
import type { Clock, KeySource, KeyStore, Sealer } from "./ports.ts";
import { printable } from "./printable.ts";
import type { ProvisioningRules } from "./provisioning.ts";
import { insertRow, insertRows } from "./row-writes.ts";
import type { Purpose } from "./sealer-cache.ts";
import { syncFailed } from "./results.ts";
import type { SyncedKey, SyncResult } from "./results.ts";
import { userFlag } from "./shell-quote.ts";
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
  /** Throws CONFIG_… errors: asked where a key may be made, and nowhere else. */
  readonly hasManagementKey: () => boolean;
  readonly provisioning: ProvisioningRules;
}

/** How often a lost race begins anew before it is called a conflict. */
export const ATTEMPTS = 5;

/** How a resolution that may end in a new key is watched. */
export interface Resolving {
  readonly autoProvision: boolean;
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
  { autoProvision, onStage }: Resolving,
  signal: AbortSignal,
): Promise<SyncResult> {
  const { store, log } = parts;
  const permission = autoProvision ? (parts.hasManagementKey() ? "may" : "no-management-key") : "off";
  await importSpooled(user, parts, signal);
  log({ kind: "syncing", user });
  const attempt: Attempt = { permission, onStage, tries: 0 };
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
  const found = new Map<UserId, SyncResult>(mayAdopt ? await importedFailures(batch, parts, signal) : []);
  const missing = () => batch.filter((user) => !found.has(user));
  const adopts = mayAdopt && candidates.winner !== undefined;
  for (let attempt = 0; attempt < ATTEMPTS && found.size < batch.length; attempt += 1) {
    if (adopts) for (const result of await insertMissing(missing(), parts, candidates, signal)) found.set(...result);
    const stored = await storedResults(missing(), parts, candidates, signal);
    for (const [user, result] of stored) if (result !== "lost") found.set(user, result);
    if (!adopts && ![...stored.values()].includes("lost")) break;
  }
  return found;
}

/** What the database alone holds for a user. */
export async function resolveStored(user: UserId, parts: Parts, signal: AbortSignal): Promise<SyncResult> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const results = await storedResults([user], parts, await Candidates.read([]), signal);
    const result = results.get(user) ?? syncFailed(user, noKey(user));
    if (result !== "lost") return result;
  }
  throw contended(user);
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

async function fromDatabase(row: KeyRecord, parts: Parts, signal: AbortSignal): Promise<SyncResult | "lost"> {
  const { log } = parts;
  if (!(await isInUse(row, parts, signal))) return "lost";
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

/** A settled row costs its reader one read. */
async function isInUse(row: KeyRecord, parts: Parts, signal: AbortSignal): Promise<boolean> {
  if (row.settled || row.generation === 0) return true;
  const { isCurrent } = await import("./settling.ts");
  return isCurrent(row, parts, signal);
}

async function adopt(user: UserId, parts: Parts, attempt: Attempt, signal: AbortSignal): Promise<Adoption> {
  const { store, log } = parts;
  const candidates = await Candidates.read(parts.sources);
  const { winner } = candidates;
  if (attempt.tries === 0) {
    candidates.tell(log, (from, key) => {
      if (from === winner?.name) log({ kind: "loaded", from, key });
    });
  }
  if (winner === undefined) {
    const { withoutKey } = await import("./auto-provisioning.ts");
    return withoutKey(user, parts, candidates, attempt, signal);
  }

  const { key, name } = winner;
  const record = sealed(user, key, name, await parts.sealer("seal", signal), parts.clock);
  if (!(await insertRow(store, record, signal))) return "lost";
  log({ kind: "saved", origin: name, key });
  log({ kind: "using", source: name });
  log({ kind: "synced" });
  log({ kind: "complete" });
  return answer(record, key, name, candidates);
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
): Promise<ReadonlyMap<UserId, SyncResult | "lost">> {
  if (users.length === 0) return new Map();
  const results = new Map<UserId, SyncResult | "lost">();
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
): Promise<SyncResult | "lost"> {
  if (!(await isInUse(row, parts, signal))) return "lost";
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

export function noKey(user: UserId): KeyctlError {
  return new KeyctlError("NO_KEY", `no key for user ${printable(user)}`, { hint: `keyctl save ${userFlag(user)}` });
}
