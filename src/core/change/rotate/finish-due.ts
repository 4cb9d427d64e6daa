import type { Context } from "../../context.ts";
import { toKeyctlError } from "../../async/deadline.ts";
import { NO_DUTIES, withDuty } from "../../model/duties.ts";
import type { KeyctlError } from "../../model/errors.ts";
import type { Timestamp } from "../../model/key-record.ts";
import type { Duty, DutyCounts } from "../../model/rotate-results.ts";
import type { UserId } from "../../model/user-id.ts";
import type { EntryOf, Recorded } from "../../ports/journal.ts";
import { retryOnConflict } from "../../protocol/contention.ts";
import { requireOwnAccount } from "../../protocol/management-access.ts";
import { removeOwed } from "../../protocol/remove-owed.ts";
import type { OwedKey, RemovalContext } from "../../protocol/remove-owed.ts";
import { isLimitDue, restoreLimit } from "../../protocol/restore-limit.ts";
import { settleStored } from "../../protocol/settle-stored.ts";
import { appendEntry } from "../../protocol/write-journal.ts";

/**
 * Finishes rotations whose time has come: keys whose grace is over are removed, and lowered limits restored. What is due is
 * found by an index. Any number of these runs may work at once.
 * **Order:** a key whose grace is over is marked for deletion first; from then on no clock decides anything.
 */

/** Older retirements are reconcile's: the longest grace is 30 days. */
const LOOK_BACK_MS = 40 * 86_400_000;
/** A deletion that was requested earlier than this is reconcile's. */
const REPEATED_MS = 86_400_000;

/** Failures that do not stop the duties of other users. */
const LEAVES_OTHERS: ReadonlySet<string> = new Set([
  "REVOKE_PENDING",
  "CONFLICT",
  "PROVIDER_UNAVAILABLE",
  "ROW_UNREADABLE",
  "STORE_CORRUPT",
]);

/** Yields each duty when it is done or could not be. Throws a failure that concerns all of them. */
export async function* finishDue(context: Context, newSignal: () => AbortSignal): AsyncGenerator<Duty> {
  const keys = await requireOwnAccount(context, "nothing can be finished at OpenRouter", newSignal());
  const finishing = { ...context, keys, newSignal };
  const now = context.clock.now().getTime();
  for await (const due of context.journal.retirements(since(now), newSignal)) {
    const { userId, n, retireAt: dueAt } = due;
    const out = await context.journal.entry(userId, "out", n, newSignal());
    if (out?.outcome !== "saved" || (await isLeftToReconcile(due, finishing, now))) continue;
    const keyHash = out.hash;
    const upstreamId = out.upstreamHash ?? out.hash;
    const end = await outcomeOf(() => retireNow({ user: userId, n, keyHash, upstreamId }, finishing));
    const error = end === "done" ? null : end;
    yield { kind: "retire", userId, keyHash, dueAt, done: error === null, error };
  }
  for await (const { userId, keyHash, limitDue } of context.store.scanDueLimits(timestamp(now), newSignal)) {
    if (limitDue === null) continue;
    const end = await outcomeOf(() => restore(userId, finishing, now));
    if (end === "nothing due") continue;
    const error = end === "done" ? null : end;
    yield { kind: "restore_limit", userId, keyHash, dueAt: limitDue.at, done: error === null, error };
  }
}

/** What rotations have left to do; nothing is changed. */
export async function countDuties(
  { journal, store, clock }: Pick<Context, "journal" | "store" | "clock">,
  newSignal: () => AbortSignal,
): Promise<DutyCounts> {
  const now = clock.now().getTime();
  let counts = NO_DUTIES;
  for await (const { retireAt } of journal.retirements(since(now), newSignal)) {
    counts = withDuty(counts, "retire", retireAt, now);
  }
  for await (const { limitDue } of store.scanDueLimits(timestamp(now), newSignal)) {
    if (limitDue !== null) counts = withDuty(counts, "restore_limit", limitDue.at, now);
  }
  return counts;
}

async function isLeftToReconcile(
  { userId, n }: Recorded<EntryOf<"due">>,
  { journal, newSignal }: RemovalContext,
  now: number,
): Promise<boolean> {
  const requested = await journal.entry(userId, "del", n, newSignal());
  return requested !== undefined && now - Date.parse(requested.at) > REPEATED_MS;
}

/** Removes a key now. The row first: what another rotation left in it is recorded before it is looked at for this key. */
export async function retireNow(owed: OwedKey, context: RemovalContext): Promise<"done"> {
  await settleStored(owed.user, context);
  await appendEntry(owed.user, { kind: "del", n: owed.n }, context, context.newSignal());
  await removeOwed(owed, context);
  return "done";
}

async function restore(user: UserId, context: RemovalContext, now: number): Promise<"done" | "nothing due"> {
  return retryOnConflict(user, async () => {
    const row = await settleStored(user, context);
    if (row === undefined || !isLimitDue(row, now)) return "nothing due";
    return (await restoreLimit(row, context, context.newSignal())) ? "done" : "conflict";
  });
}

async function outcomeOf<Outcome>(work: () => Promise<Outcome>): Promise<Outcome | KeyctlError> {
  try {
    return await work();
  } catch (thrown) {
    const failure = toKeyctlError(thrown);
    if (LEAVES_OTHERS.has(failure.code)) return failure;
    throw failure;
  }
}

function since(now: number): readonly [from: Timestamp, to: Timestamp] {
  return [timestamp(now - LOOK_BACK_MS), timestamp(now)];
}

function timestamp(milliseconds: number): Timestamp {
  return new Date(milliseconds).toISOString();
}
