import { toKeyctlError } from "../async/deadline.ts";
import type { NextSync } from "../resolve/next-sync.ts";
import { isKeyctlError, KeyctlError } from "../model/errors.ts";
import { hashOfRecord } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { isTombstone, newTombstone } from "../model/tombstone.ts";
import type { Block, Tombstone } from "../model/tombstone.ts";
import { printable } from "../text/printable.ts";
import { requestRetainedDeletions } from "../protocol/retained-keys.ts";
import type { RetainedKey } from "../protocol/retained-keys.ts";
import {
  changedMeanwhile,
  confirmAll,
  confirmDeleted,
  deleteUpstream,
  formerKey,
  KEPT,
  refuseShared,
  revokeRetained,
  stillOwed,
  upstreamIdOf,
} from "./revoke-key.ts";
import type { Deleted, Revocation } from "./revoke-key.ts";
import { blockToFinish, insertRow, takeOutRow } from "../protocol/write-row.ts";
import type { PurgeResult } from "../model/results.ts";
import { withTrueGeneration, confirmGeneration, recordRevocation, revokePredecessor } from "../protocol/settle-row.ts";
import { userFlag } from "../text/shell-quote.ts";
import { requireOwnAccount } from "../protocol/management-access.ts";
import type { UserId } from "../model/user-id.ts";
import type { Context } from "../context.ts";
import { retryOnConflict } from "../protocol/contention.ts";
import { importSpooled } from "../protocol/spool-gate.ts";

export const NO_KEY_CAN_BE_REMOVED = "no key can be removed at OpenRouter";

export interface PurgeCompletion {
  /** How many keys were deleted at OpenRouter. */
  readonly removed: number;
  /** The first deletion that is still pending. */
  readonly error: KeyctlError | null;
}

/**
 * Whether the key is also deleted at OpenRouter: no, if keyctl created it, or in any case. Every other key that keyctl
 * created for this user is deleted with it.
 */
export type Revoke = "no" | "ours" | "foreign too";

export interface PurgeTask {
  /** Only the key with this hash: CONFLICT if the user has another key now. */
  readonly onlyHash?: string | null | undefined;
  readonly revoke: Revoke;
  /** Leaves a tombstone: no key is stored for this user until an unblock. Null: none. */
  readonly block: Block | null;
  readonly nextSync: NextSync;
  /** Finishes earlier purges of a user without a row. Called only with `revoke`. */
  readonly finish: (user: UserId, signal: AbortSignal) => Promise<PurgeCompletion>;
}

/** A purge whose result is final, or becomes final once the deletion at OpenRouter is confirmed. */
export type Purge =
  | { readonly status: "ended"; readonly result: PurgeResult }
  | { readonly status: "deleted"; readonly deleted: Deleted; readonly end: (revocation: Revocation) => PurgeResult };

/**
 * Deletes by compare-and-set, or with a block puts a tombstone in its place. **Order:** record the revocation, change the row,
 * delete upstream. A removed row has no room for a note, and the row never holds a dead key.
 */
export async function purgeKey(user: UserId, task: PurgeTask, context: Context, signal: AbortSignal): Promise<Purge> {
  const { onlyHash, revoke, block } = task;
  const { store } = context;
  /** Keys whose rows were removed, before another row came in the way of the tombstone. */
  const taken: RetainedKey[] = [];
  if (revoke !== "no") {
    const owned = requireOwnAccount(context, NO_KEY_CAN_BE_REMOVED, signal);
    await (block === null ? owned : owned.catch((thrown) => Promise.reject(notBlocked(user, thrown))));
  }
  await importSpooled(user, context, signal);
  return retryOnConflict(user, async () => {
    const found = await store.find(user, signal);
    if (found === undefined || isTombstone(found))
      return withoutKey(user, { ...task, tombstone: found }, context, signal);
    if (!(await confirmGeneration(found, context, signal))) return "conflict";
    const row = await withTrueGeneration(found, context, signal);
    // A block is about the user, whatever key is there by now.
    if (block === null && onlyHash !== undefined && row.keyHash !== onlyHash) throw changedMeanwhile(user);
    const isGiven = row.generation === 0;
    const blocks = block !== null;
    if (isGiven && taken.length === 0) await refuseForeign(row, { revoke, blocks }, context, signal);
    await revokePredecessor(row, context, signal);
    // In each round: only the removal of this row proves that no other key was replaced and retained in the meantime.
    const others = revoke === "no" ? [] : await requestRetainedDeletions(user, row.generation, context, signal);
    const revocation = { reason: "purged", revoke: revoke !== "no", block: blocks } as const;
    const recorded = row.generation > 0 ? await recordRevocation(row, revocation, context, signal) : revocation;
    // An earlier purge that died here may have wanted the block.
    const blocked = block ?? (await blockToFinish(recorded, context, signal));
    const end = await takeOutRow(row, blocked, context, signal);
    if (end === "another" && !isGiven) taken.push(asRetained(row));
    if (end !== "out") return "conflict";
    const spared = isGiven && taken.length > 0 && revoke === "ours";
    const rest = revoke === "no" ? [] : [...taken, ...others];
    return revoked(row, { ...task, revoke: spared ? "no" : revoke, block: blocked, others: rest }, context, signal);
  });
}

function asRetained(row: KeyRecord): RetainedKey {
  const keyHash = row.keyHash ?? "";
  return { n: row.generation, keyHash, upstreamId: row.upstreamHash ?? keyHash };
}

/** For a user without a key: blocks, and finishes earlier purges. */
async function withoutKey(
  user: UserId,
  { tombstone, revoke, block, finish, nextSync }: PurgeTask & { readonly tombstone: Tombstone | undefined },
  context: Context,
  signal: AbortSignal,
): Promise<Purge | "conflict"> {
  if (revoke !== "no") await requestRetainedDeletions(user, null, context, signal);
  const isBlocking = tombstone === undefined && block !== null;
  if (isBlocking) {
    if (!(await insertRow(context.store, newTombstone(user, block), signal))) return "conflict";
    context.history.note({ event: "blocked", userId: user, key: null });
  }
  const wasBlocked = tombstone !== undefined;
  const blocked = isBlocking || wasBlocked;
  const { removed, revocation, error } = await finished(
    revoke === "no" ? NOTHING : finish(user, signal),
    blocked,
    signal,
  );
  const returnsFrom = await returnsTo(blocked, nextSync, signal);
  const result = { ...purgeOf(user, undefined, revocation), blocked, wasBlocked };
  return ended({ ...result, revokedKeys: removed, returnsFrom, error });
}

const NOTHING: Promise<PurgeCompletion> = Promise.resolve({ removed: 0, error: null });

/** How the earlier purges end. A failure does not hide that the user is blocked. */
async function finished(completion: Promise<PurgeCompletion>, blocked: boolean, signal: AbortSignal) {
  try {
    const { removed, error } = await completion;
    const revocation = error !== null ? "pending" : removed > 0 ? "done" : null;
    return { removed, revocation, error } as const;
  } catch (thrown) {
    if (!blocked) throw thrown;
    return { removed: 0, revocation: null, error: toKeyctlError(thrown, signal) } as const;
  }
}

/** From where the next sync would bring a key back. A blocked user gets none. */
async function returnsTo(
  blocked: boolean,
  nextSync: NextSync,
  signal: AbortSignal,
): Promise<PurgeResult["returnsFrom"]> {
  return blocked ? [] : nextSync.returnsFrom(NOTHING_MORE, signal);
}

/** The result of a purge whose deletion is to be confirmed. Rejects only when the caller stops waiting. */
export async function confirmPurge(purge: Purge, signal: AbortSignal): Promise<PurgeResult> {
  return purge.status === "ended" ? purge.result : purge.end(await confirmDeleted(purge.deleted, signal));
}

/** The results of these purges, whose deletions are confirmed together. Rejects only when the caller stops waiting. */
export async function confirmPurges(purges: readonly Purge[], signal: AbortSignal): Promise<readonly PurgeResult[]> {
  const deleted = purges.flatMap((purge) => (purge.status === "deleted" ? [purge.deleted] : []));
  const revocations = deleted.length === 0 ? [] : await confirmAll(deleted, signal);
  const fates = new Map(deleted.map((one, index) => [one, revocations[index]]));
  return purges.map((purge) => {
    if (purge.status === "ended") return purge.result;
    return purge.end(fates.get(purge.deleted) ?? NOT_CONFIRMED);
  });
}

/** As `confirmPurges`, after the caller has stopped waiting. */
export function unconfirmedPurges(purges: readonly Purge[]): readonly PurgeResult[] {
  return purges.map((purge) => (purge.status === "ended" ? purge.result : purge.end(NOT_CONFIRMED)));
}

const NOT_CONFIRMED = {
  status: "pending",
  detail: "the run ended before its deletion was confirmed",
} as const;

async function revoked(
  row: KeyRecord,
  { others, revoke, block, nextSync }: PurgeTask & { readonly others: readonly RetainedKey[] },
  context: Context,
  signal: AbortSignal,
): Promise<Purge> {
  const blocked = block !== null;
  const deleted = revoke === "no" ? KEPT : await deleteUpstream(row, context, signal);
  // A key that was saved again may be both in the row and among the retained keys.
  const besides = others.filter(({ upstreamId }) => upstreamId !== upstreamIdOf(row));
  const rest = await revokeAll(row.userId, besides, context, signal);
  const returnsFrom = await returnsTo(blocked, nextSync, signal);
  const end = (revocation: Revocation) => ({ ...resultOf(row, rest, revocation), blocked, returnsFrom });
  return deleted.status === "deleted" ? { status: "deleted", deleted, end } : ended(end(deleted));
}

/** The decisions of this purge are in the journal. */
const NOTHING_MORE: ReadonlySet<string> = new Set();

function ended(result: PurgeResult): Purge {
  return { status: "ended", result };
}

function resultOf(row: KeyRecord, rest: Rest, revocation: Revocation): PurgeResult {
  const revokedKeys = rest.done + (revocation.status === "done" ? 1 : 0);
  const status = rest.pending === null ? revocation.status : "pending";
  const result = { ...purgeOf(row.userId, row, status), revokedKeys };
  if (revocation.status !== "pending") {
    return rest.pending === null ? result : { ...result, error: earlierStillOwed(row.userId, rest.pending) };
  }
  if (row.generation > 0) return { ...result, error: stillOwed(row.userId, revocation.detail, "purge") };
  // No record of it remains: the same command would find nothing to do.
  const hash = hashOfRecord(row) ?? "not known";
  const detail = `${revocation.detail} (its hash there is ${hash})`;
  return { ...result, error: stillOwed(row.userId, detail, "purge", "delete it at https://openrouter.ai/keys") };
}

/** How many of the retained keys are deleted, and what is known of the first one that may not be. */
interface Rest {
  readonly done: number;
  readonly pending: string | null;
}

/** One after the other. */
async function revokeAll(
  user: UserId,
  retained: readonly RetainedKey[],
  context: Context,
  signal: AbortSignal,
): Promise<Rest> {
  let done = 0;
  let pending: string | null = null;
  for (const key of retained) {
    const revocation = await revokeRetained(user, key, context, signal);
    if (revocation.status === "pending") pending ??= revocation.detail;
    else done += 1;
  }
  return { done, pending };
}

function earlierStillOwed(user: UserId, detail: string): KeyctlError {
  const message = `an earlier key that keyctl created for user ${printable(user)} may still work: ${detail}`;
  return new KeyctlError("REVOKE_PENDING", message, {
    hint: `keyctl purge ${userFlag(user)} --revoke`,
    retryable: true,
  });
}

/** A key that keyctl did not create is deleted only on request, and only if no other user has it. */
export async function refuseForeign(
  row: KeyRecord,
  { revoke, blocks }: { readonly revoke: Revoke; readonly blocks: boolean },
  { store }: Context,
  signal: AbortSignal,
): Promise<void> {
  if (revoke === "no") return;
  if (revoke === "ours") throw foreignKey(row.userId, blocks);
  await refuseShared(row, store, signal);
}

function foreignKey(user: UserId, blocks: boolean): KeyctlError {
  const message = `keyctl did not create the key of user ${printable(user)}; nothing was done`;
  return new KeyctlError("FOREIGN_KEY", message, {
    hint: `keyctl purge ${userFlag(user)} --revoke-foreign${blocks ? " --block" : ""}   deletes it at OpenRouter anyway`,
  });
}

/** A failure before anything was done: without OpenRouter, nothing is revoked, but a block needs no OpenRouter. */
function notBlocked(user: UserId, thrown: unknown): unknown {
  if (!isKeyctlError(thrown)) return thrown;
  const { code, message, retryable } = thrown;
  return new KeyctlError(code, `${message}; user ${printable(user)} is not blocked`, {
    hint: `keyctl purge ${userFlag(user)} --block   blocks without OpenRouter, which deletes no key then`,
    retryable,
  });
}

/** The result of a purge that has removed this row, as yet without what else it did. */
export function purgeOf(
  userId: UserId,
  row: KeyRecord | undefined,
  revocation: PurgeResult["revocation"],
): PurgeResult {
  return {
    userId,
    former: row === undefined ? null : formerKey(row),
    purged: row !== undefined,
    blocked: false,
    wasBlocked: false,
    revocation,
    revokedKeys: 0,
    returnsFrom: [],
    warnings: [],
    error: null,
  };
}
