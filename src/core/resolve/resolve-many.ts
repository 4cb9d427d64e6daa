import { Candidates } from "./source-candidates.ts";
import type { UserId } from "../model/user-id.ts";
import { blockedError, isTombstone } from "../model/tombstone.ts";
import type { StoredRow } from "../model/tombstone.ts";
import type { Context } from "../context.ts";
import type { SyncResult } from "../model/results.ts";
import type { Usable } from "./usable-candidates.ts";
import { spoolFailures } from "../protocol/spool-gate.ts";
import type { OnSpooled } from "../protocol/spool-gate.ts";
import { attempts, retryOnConflict } from "../protocol/contention.ts";
import { usableOf } from "./usable-candidates.ts";
import { syncFailed } from "../model/results.ts";
import { isKeyctlError } from "../model/errors.ts";
import { sealed, isInUse } from "./sealed-record.ts";
import { answer } from "./sync-result.ts";
import type { AnswerSetting } from "./sync-result.ts";
import { duplicateRowsError, storedValue } from "../model/key-record.ts";
import { openForUse } from "../sealing/open-row.ts";

/** Settings for all users of a run. The sources are read once, before the run. */
export interface ResolveManyTask {
  readonly candidates: Candidates;
  /** False: a user without a row stays without one. */
  readonly adopt: boolean;
  /** Called first, for the spooled keys of each user. ROW_UNREADABLE is the error of that user. */
  readonly onSpooled: OnSpooled | null;
  readonly newSignal: () => AbortSignal;
}

/**
 * As `resolve`, for many users. **Order:** read the rows of a batch, insert the missing ones, and read the rows whose
 * insert lost. After a batch in which no user had a row, the next batch is inserted without reading: a new store has
 * nothing to read, and in any other store a read costs less than the inserts that lose.
 */
export async function* resolveMany(
  users: AsyncIterable<readonly UserId[]>,
  context: Context,
  run: ResolveManyTask,
): AsyncGenerator<ResolvedBatch> {
  let looksFirst = true;
  for await (const batch of users) {
    const resolved = await resolveBatch(batch, context, run, looksFirst);
    if (batch.length > 0) looksFirst = resolved.hasStored;
    yield resolved;
  }
}

export interface ResolvedBatch {
  readonly results: readonly SyncResult[];
  /** The users without a row, whose result is the error that no key was found. */
  readonly missing: ReadonlySet<string>;
  /** Whether a user of the batch had a row. */
  readonly hasStored: boolean;
  /** The sources as this batch found them. If keys are stored, sources whose key must not be stored are marked. */
  readonly candidates: Candidates;
}

/** Tries again for a user whose insert lost and whose winning row was purged before it was read. */
async function resolveBatch(
  batch: readonly UserId[],
  context: Context,
  { candidates, adopt: mayAdopt, onSpooled, newSignal }: ResolveManyTask,
  looksFirst: boolean,
): Promise<ResolvedBatch> {
  const signal = newSignal();
  const found = new Map<UserId, SyncResult>(
    onSpooled === null
      ? []
      : (await spoolFailures(batch, context, onSpooled, signal)).map(([user, error]) => [
          user,
          syncFailed(user, error),
        ]),
  );
  const missing = () => batch.filter((user) => !found.has(user));
  let usable: Usable = { candidates, given: null };
  let hasStored = false;
  for await (const tries of attempts()) {
    if (found.size === batch.length) break;
    if (mayAdopt) usable = await usableOf(candidates, context, signal);
    const saves = usable.given !== null;
    // A failure that concerns all users is thrown before the first of them has a result.
    if (saves && tries === 1) await context.sealer("prepare", signal);
    const looks = looksFirst || tries > 1 || !saves;
    const stored = looks ? await storedResults(missing(), context, candidates, signal) : NOT_LOOKED;
    hasStored ||= stored.size > 0;
    for (const [user, result] of stored) if (result !== "lost") found.set(user, result);
    for (const result of await insertMissing(missing(), context, usable, signal)) found.set(...result);
    if (!saves && ![...stored.values()].includes("lost")) break;
  }
  const results = batch.map(
    (user) => found.get(user) ?? syncFailed(user, usable.candidates.noKey(user), usable.candidates.warnings),
  );
  return { results, missing: new Set(missing()), hasStored, candidates: usable.candidates };
}

const NOT_LOOKED: ReadonlyMap<UserId, SyncResult | "lost"> = new Map();

/** The user's key in the database; no other source is read. */
export async function resolveStored(user: UserId, context: Context, signal: AbortSignal): Promise<SyncResult> {
  return retryOnConflict(user, async () => {
    const candidates = await Candidates.read([]);
    const results = await storedResults([user], context, candidates, signal);
    const result = results.get(user) ?? syncFailed(user, candidates.noKey(user));
    return result === "lost" ? "conflict" : result;
  });
}

async function insertMissing(
  batch: readonly UserId[],
  context: Context,
  { candidates, given }: Usable,
  signal: AbortSignal,
): Promise<ReadonlyMap<UserId, SyncResult>> {
  const { winner } = candidates;
  if (winner === undefined || given === null || batch.length === 0) return new Map();
  const { name, key } = winner;
  const sealer = await context.sealer("seal", signal);
  const records = batch.map((user) => sealed(user, winner, sealer, context.clock));
  const { insertGivenToMany } = await import("../protocol/given-key.ts");
  const won = await insertGivenToMany(records, given, context, signal);
  const setting = { source: name, candidates, now: context.clock.now().getTime() };
  const saved = records.filter((_, index) => won[index]);
  context.history.note(...saved.map((record) => ({ event: "saved", userId: record.userId, key: record }) as const));
  return new Map(saved.map((record) => [record.userId, answer(record, key, setting)]));
}

async function storedResults(
  users: readonly UserId[],
  context: Context,
  candidates: Candidates,
  signal: AbortSignal,
): Promise<ReadonlyMap<UserId, SyncResult | "lost">> {
  if (users.length === 0) return new Map();
  const results = new Map<UserId, SyncResult | "lost">();
  const seen = new Map<UserId, StoredRow>();
  const managementKeys = context.managementKeyHashes();
  const setting = { source: "database", candidates, now: context.clock.now().getTime() } as const;
  for (const row of await context.store.findMany(users, signal)) {
    const twin = seen.get(row.userId);
    seen.set(row.userId, row);
    results.set(
      row.userId,
      twin === undefined
        ? await storedResult(row, { setting, managementKeys }, context, signal)
        : syncFailed(row.userId, duplicateRowsError(twin, row)),
    );
  }
  return results;
}

/**
 * A row that cannot be opened, or only with a master key that is not here, is the error of its user. Missing or wrong
 * master keys are thrown for all users.
 */
async function storedResult(
  row: StoredRow,
  { setting, managementKeys }: { readonly setting: AnswerSetting; readonly managementKeys: ReadonlySet<string> },
  context: Context,
  signal: AbortSignal,
): Promise<SyncResult | "lost"> {
  if (isTombstone(row)) return syncFailed(row.userId, blockedError(row));
  if (!(await isInUse(row, context, signal))) return "lost";
  if (storedValue(row.keyEncrypted).kind === "sealed") await context.sealer("open", signal);
  try {
    return answer(row, await openForUse(row, context, signal, managementKeys), setting);
  } catch (thrown) {
    if (isKeyctlError(thrown)) return syncFailed(row.userId, thrown);
    throw thrown;
  }
}
