import { deadlineIn, isTimeout, toKeyctlError } from "../../async/deadline.ts";
import { keyIn } from "../../model/tombstone.ts";
import type { Context } from "../../context.ts";
import { isKeyctlError, KeyctlError } from "../../model/errors.ts";
import { comingIntoUse } from "../../model/history-event.ts";
import { NOT_RENEWED } from "../../model/key-record.ts";
import type { KeyRecord, Timestamp } from "../../model/key-record.ts";
import { limitOverTime } from "../../model/known-terms.ts";
import type { RotateResult } from "../../model/rotate-results.ts";
import type { Warning } from "../../model/warning.ts";
import { CLEAN_UP_MS } from "../../protocol/abandon-operation.ts";
import { newKeyRow } from "../../protocol/create-key.ts";
import type { CreatedKey } from "../../protocol/create-key.ts";
import { deleteNewKey } from "../../protocol/delete-upstream.ts";
import { isSameKey, isStillHeld } from "../../protocol/find-key.ts";
import { settleLostAnswer } from "../../protocol/settle-lost-answer.ts";
import { markOwnSettled, previousOf, recordSaved, revokePredecessor, rollBackRow } from "../../protocol/settle-row.ts";
import { isSavedAs } from "../../protocol/store-new-key.ts";
import { appendEntry } from "../../protocol/write-journal.ts";
import { printable } from "../../text/printable.ts";
import { userFlag } from "../../text/shell-quote.ts";
import {
  changedMeanwhile,
  formerKey,
  holdSameKey,
  oldKeyPending,
  revokeRetained,
  revokeUpstream,
} from "../revoke-key.ts";
import type { Revocation } from "../revoke-key.ts";
import type { RotationPlan } from "./plan-rotation.ts";
import { newKeyRefused, verifyNewKey } from "./verify-new-key.ts";

/** Time for the steps that a caller who stops waiting does not cut short, in milliseconds. */
const STEP_MS = 10_000;
const ATTACHING_MS = 20_000;
const MAX_SWAPS = 4;
const HALF_A_CENT = 0.005;

/** A rotation whose key was created, and the row that is to hold it. */
interface Rotation extends RotationPlan {
  readonly created: CreatedKey;
  readonly own: KeyRecord;
}

/** `row` is the row as it was stored. */
export interface CompletedRotation {
  readonly result: RotateResult;
  readonly row: KeyRecord;
}

/** From the verification of the new key on. Throws every failure before the new key is in use, after undoing it. */
export async function completeRotation(
  created: CreatedKey,
  plan: RotationPlan,
  context: Context,
  signal: AbortSignal,
): Promise<CompletedRotation> {
  const row = await newKeyRow(created, plan.row.userId, context);
  const { limitDue } = plan.newTerms;
  const renewal = plan.isRenewal ? { autoRenewed: true, lastRenewalAt: row.createdAt } : NOT_RENEWED;
  const own = { ...row, ...renewal, limitDue, restrictions: plan.recorded };
  const rotation = { ...plan, created, own };
  const placed = await putInUse(rotation, context, signal);
  return { result: await afterCommit(rotation, placed, context, signal), row: placed };
}

/** STORE ROW and RECORD OUTCOME. Returns the row as it was stored. */
async function putInUse(rotation: Rotation, context: Context, signal: AbortSignal): Promise<KeyRecord> {
  try {
    await prepare(rotation, context, signal);
    const placed = await storeRotated(rotation, context);
    const outcome = await recordSaved(placed, context, stepTime());
    if (isSavedAs(outcome, rotation.own)) return placed;
    throw changedMeanwhile(placed.userId);
  } catch (thrown) {
    return undo(thrown, rotation, context);
  }
}

/** A key that is not restricted as its predecessor never becomes current. */
async function prepare(
  { created, keys, own, restrictions }: Rotation,
  context: Context,
  signal: AbortSignal,
): Promise<void> {
  const { key, upstream } = created.creation;
  const { limit } = created.operation;
  if (upstream.limit !== undefined && !isSameAmount(upstream.limit, limit)) {
    throw newKeyRefused(own.userId, `OpenRouter gave it another limit than ${limit === null ? "none" : `$${limit}`}`);
  }
  await verifyNewKey(own.userId, key, context, signal);
  const book = await keys.restrictions();
  const attaching = await book.attach(upstream.hash, restrictions, keys, deadlineIn(ATTACHING_MS, signal));
  if (attaching.status === "failed") {
    throw newKeyRefused(own.userId, `it could not get the restrictions of the old one, ${attaching.detail}`);
  }
}

/** To the cent: what is left of a limit may have more digits than OpenRouter keeps. */
function isSameAmount(one: number | null, other: number | null): boolean {
  return one === null || other === null ? one === other : Math.abs(one - other) < HALF_A_CENT;
}

/**
 * STORE ROW, which replaces the row that was read. Returns the row as it was stored, with the note of its predecessor.
 * Throws CONFLICT if the row holds another key now.
 */
async function storeRotated(rotation: Rotation, context: Context): Promise<KeyRecord> {
  const { row, own } = rotation;
  let seen = row;
  for (let swaps = 0; swaps < MAX_SWAPS; swaps += 1) {
    const next = successorOf(seen, rotation);
    const isDone = await settleLostAnswer(
      () => context.store.replace(next, seen, stepTime()),
      async () => "unanswered" as const,
    );
    if (isDone === true) return next;
    const now = keyIn(await context.store.find(own.userId, stepTime()));
    // Another command may have settled it already, so that it names no predecessor any more.
    if (isSameKey(own, now)) return next;
    // A write without an answer may still be applied: it is never sent again.
    if (isDone === "unanswered") return decideUnanswered(next, context);
    // Another command has settled the row or restored its limit meanwhile.
    if (now === undefined || now.generation !== row.generation || !holdSameKey(now, row) || !now.settled) break;
    seen = now;
  }
  throw changedMeanwhile(own.userId);
}

/** Abandoned, unless another command has seen the row and recorded its outcome. A row that appears later is rolled back. */
async function decideUnanswered(next: KeyRecord, context: Context): Promise<KeyRecord> {
  const { userId, generation: n } = next;
  const outcome = await appendEntry(userId, { kind: "out", n, outcome: "abandoned" }, context, stepTime());
  if (isSavedAs(outcome, next)) return next;
  throw changedMeanwhile(userId);
}

/** The limit and what it becomes stay as they were decided, whatever the row that is replaced says now. */
function successorOf(seen: KeyRecord, { own, task }: Rotation): KeyRecord {
  const graceMs = task.graceMs === 0 || seen.generation === 0 ? null : task.graceMs;
  const previous = previousOf(seen, {
    // With a grace, an older keyctl that finishes this rotation keeps the old key too long, never too short.
    revoke: graceMs === null && seen.generation > 0,
    graceMs,
    keyEncrypted: seen.keyEncrypted,
  });
  const { id, foreignFields } = seen;
  return { ...own, id, foreignFields, revision: (seen.revision ?? 0) + 1, settled: false, previous };
}

/** The new key is in use: what fails from here on is finished by the next command or by reconcile. */
async function afterCommit(
  rotation: Rotation,
  placed: KeyRecord,
  context: Context,
  signal: AbortSignal,
): Promise<RotateResult> {
  const { created, carried, row } = rotation;
  const { key } = created.creation;
  context.log({ kind: "made", key });
  context.log({ kind: "saved", origin: placed.origin, key });
  context.history.note({ event: comingIntoUse(placed), userId: placed.userId, key: placed });
  await created.accountBound;
  const { revocation, revokeAt, isSeen } = await retirePredecessor(rotation, placed, context, signal);
  if (!isSeen) await requireStillHeld(placed, context);
  const { limit, limitDue, limitReset, expiresAt, generation, keyHash, origin } = placed;
  return {
    userId: placed.userId,
    key,
    keyHash,
    origin,
    generation,
    ...limitOverTime(limit, limitDue),
    limitReset,
    expiresAt,
    verified: true,
    restrictions: carried,
    previous: { ...formerKey(row), revocation: revocation.status, revokeAt },
    warnings: warningsOf(rotation),
    error: revocation.status === "pending" ? oldKeyPending(row, revocation.detail) : null,
  };
}

interface Retired {
  readonly revocation: Revocation | { readonly status: "scheduled" };
  readonly revokeAt: Timestamp | null;
  /** The last step was SETTLE, and it has seen the new key in the row. */
  readonly isSeen: boolean;
}

/** REVOKE PREDECESSOR; without a grace DELETE UPSTREAM; SETTLE. */
async function retirePredecessor(
  rotation: Rotation,
  placed: KeyRecord,
  context: Context,
  signal: AbortSignal,
): Promise<Retired> {
  const { row, task, retired } = rotation;
  try {
    const retireAt = await revokePredecessor(placed, context, stepTime());
    const isSeen = await markOwnSettled(placed, context, stepTime());
    if (row.generation === 0 && task.foreign !== "revoke")
      return { revocation: { status: "not_ours" }, revokeAt: null, isSeen };
    if (retireAt !== null) return { revocation: { status: "scheduled" }, revokeAt: retireAt, isSeen };
    let revocation = await revokeUpstream(row, context, signal);
    for (const key of retired) {
      const earlier = await revokeRetained(row.userId, key, context, signal);
      if (revocation.status !== "pending") revocation = earlier.status === "pending" ? earlier : revocation;
    }
    return { revocation, revokeAt: null, isSeen: false };
  } catch (thrown) {
    // A caller who stops waiting learns of the new key nevertheless: it is in use.
    const isStopped = signal.aborted && thrown === signal.reason;
    if (!isKeyctlError(thrown) && !isTimeout(thrown) && !isStopped) throw thrown;
    const detail = isKeyctlError(thrown) ? thrown.message : isStopped ? "the run was stopped" : "the time was over";
    return { revocation: { status: "pending", detail }, revokeAt: null, isSeen: false };
  }
}

/** The new key was in use, and may have been purged or replaced since. Without an answer it is not handed out. */
export async function requireStillHeld(
  placed: Pick<KeyRecord, "userId" | "generation" | "keyHash">,
  { store }: Pick<Context, "store">,
): Promise<void> {
  const { userId } = placed;
  const done = `the key of user ${printable(userId)} was rotated`;
  const hint = `keyctl get ${userFlag(userId)} --stored   shows what is there now`;
  let isHeld: boolean;
  try {
    isHeld = await isStillHeld(placed, store, stepTime());
  } catch (thrown) {
    const failure = toKeyctlError(thrown);
    if (failure.code === "USER_BLOCKED") throw failure;
    const message = `${done}, but the database did not say whether it still holds the new key: ${failure.message}`;
    throw new KeyctlError("STORE_UNAVAILABLE", message, { hint, retryable: true, mayHaveHappened: true });
  }
  if (isHeld) return;
  throw new KeyctlError("CONFLICT", `${done}, and another command has purged or replaced the new key since`, { hint });
}

function warningsOf({ task, own, row, isLimitWhole }: Rotation): readonly Warning[] {
  const { limit } = own;
  const hasGrace = task.graceMs > 0 && row.generation > 0;
  if (limit === null) return [{ code: "NO_LIMIT", message: "the new key has no spending limit" }];
  if (isLimitWhole) {
    const message = `what was left of the deleted key's limit is not known: the new key may spend all of its $${limit}`;
    return [{ code: "LIMIT_WHOLE_AGAIN", message }];
  }
  if (!hasGrace) return [];
  const message = "until the old key is removed, both keys can spend what was left of the limit";
  return [{ code: "GRACE_DOUBLES_BUDGET", message }];
}

/**
 * Undoes a rotation that failed, and throws the failure. Returns the row if another command has seen the new key in it and
 * recorded its outcome: the rotation is done.
 */
async function undo(thrown: unknown, rotation: Rotation, context: Context): Promise<KeyRecord> {
  const { userId } = rotation.own;
  const end = await removeNewKey(rotation, context);
  if (typeof end === "object") return end;
  if (end === "removed" || !isKeyctlError(thrown)) throw thrown;
  const { code, message, retryable, mayHaveHappened } = thrown;
  throw new KeyctlError(code, `${message}; the new key may still exist`, {
    hint: `keyctl reconcile ${userFlag(userId)} --fix   removes it, unless it is in use`,
    retryable,
    mayHaveHappened,
  });
}

/**
 * **Order:** the new key is abandoned, then taken out of the row, then removed: no command that saw its row can save it any
 * more. `left`: reconcile finds it. The row: the key is in use.
 */
async function removeNewKey(rotation: Rotation, context: Context): Promise<"removed" | "left" | KeyRecord> {
  const { created, own, keys } = rotation;
  const { userId, generation: n } = own;
  const time = AbortSignal.timeout(CLEAN_UP_MS);
  try {
    const outcome = await appendEntry(userId, { kind: "out", n, outcome: "abandoned" }, context, time);
    if (isSavedAs(outcome, own)) return successorOf(rotation.row, rotation);
    context.history.note({ event: "abandoned", userId, key: own });
    const row = keyIn(await context.store.find(userId, time));
    if (row !== undefined && isSameKey(own, row)) await rollBackRow(row, context, time);
    const isRemoved = await deleteNewKey({ row: own, upstreamId: created.creation.upstream.hash, keys }, context);
    return isRemoved ? "removed" : "left";
  } catch (failure) {
    if (isKeyctlError(failure) || isTimeout(failure)) return "left";
    throw failure;
  }
}

function stepTime(): AbortSignal {
  return AbortSignal.timeout(STEP_MS);
}
