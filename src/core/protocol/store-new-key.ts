import { isKeyctlError, KeyctlError } from "../model/errors.ts";
import { appendEntry } from "./write-journal.ts";
import type { EntryOf } from "../ports/journal.ts";
import { keyOfRow } from "../model/history-event.ts";
import { termsOf } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { anySignal, isTimeout, timeOf, deadlineIn, withTimeLimit } from "../async/deadline.ts";
import { settleLostAnswer } from "./settle-lost-answer.ts";
import { printable } from "../text/printable.ts";
import { markOwnSettled, rollBackRow, recordSaved } from "./settle-row.ts";
import { userFlag } from "../text/shell-quote.ts";
import type { SpooledKey } from "../ports/spool.ts";
import { deleteNewKey } from "./delete-upstream.ts";
import type { UnstoredKey } from "./delete-upstream.ts";
import { keyIn } from "../model/tombstone.ts";
import { isSameKey, isStillHeld } from "./find-key.ts";
import type { Context } from "../context.ts";
import { sleep } from "../async/sleep.ts";

/**
 * **Order:** (1) insert the row, so the secret is durable; (2) append the `saved` outcome, which makes the key current;
 * (3) check that the store is still the one that was opened; (4) return the key. A row whose insert was not answered is
 * read back and never resent. If the store fails in between, it may have been removed together with the row: the encrypted
 * key then waits in a file, and its import reads what became of the row. Only a key whose insert was certainly never sent
 * may be deleted without a recorded decision.
 */

export interface NewKey extends UnstoredKey {
  readonly deployment: string;
  /** Settles when the store is bound to its account, as far as that can be done. */
  readonly accountBound: Promise<void>;
}

export interface KeyFromSpool extends UnstoredKey {
  /** Its insert may have reached the store. */
  readonly sent: boolean;
}

/** How long a failing store is tried before the key goes to the spool. */
const STORE_MS = 10_000;
const PAUSE_MS = 100;
const REMOVAL_MS = 20_000;

/** STORE ROW and RECORD OUTCOME. Returns the settled row. `lost`: the key was abandoned and removed, or has left its row since. */
export async function placeKey(created: NewKey, context: Context): Promise<KeyRecord | "lost"> {
  const seen = await insertNewRow(created.row, context);
  if (seen.status === "unavailable") return spoolNewKey(created, seen.sent, context);
  try {
    // Before the key is in use: between its last look at the row and its hand-out, nothing else is waited for.
    await created.accountBound.catch(() => {});
    const end = await decide(created, seen, context);
    if (end === "lost" || end === "not-deleted") return "lost";
    await confirmStoreIsThere(end, context);
    return end;
  } catch (thrown) {
    if (!isUnavailable(thrown) && !isDamage(thrown)) throw thrown;
    return spoolNewKey(created, true, context);
  }
}

/**
 * As `placeKey`, for a key from the spool, until the caller's time is over. A signal does not cut it, because a write in
 * flight would then count as not sent. `unavailable`: the store is unavailable, and whether the insert may have reached it.
 */
export async function placeSpooled(
  spooled: KeyFromSpool,
  context: Context,
  signal: AbortSignal,
): Promise<"decided" | "undecided" | { readonly unavailable: Unavailable }> {
  const caller = timeOf(signal);
  const { row, sent } = spooled;
  const seen = sent ? await readBackNewRow(row, context, caller) : await insertNewRow(row, context, caller);
  if (seen.status === "unavailable") return { unavailable: seen };
  if (seen.status === "other" && !(await mayDelete(spooled, context, caller))) return "undecided";
  const end = await decide(spooled, seen, context, caller);
  // The file stays until the key is deleted.
  if (end === "not-deleted") return "undecided";
  if (end !== "lost") await confirmStoreIsThere(end, context, caller);
  return "decided";
}

/**
 * Deletes nothing without a management key, or with one of another account. For a store that is not bound yet, or was bound
 * to this account later, the account is the one that has the key: in any other, the key would wrongly count as deleted.
 */
async function mayDelete(
  { row: { createdAt }, upstreamId, keys }: UnstoredKey,
  { account }: Pick<Context, "account">,
  caller: AbortSignal,
): Promise<boolean> {
  if (keys === undefined) return false;
  try {
    const signal = anySignal(caller, AbortSignal.timeout(REMOVAL_MS));
    const opened = await account.open();
    const isOurs = (await opened.standing(signal)) !== "unbound" && !(await opened.predates(createdAt, signal));
    if (isOurs) return true;
    return (await keys.find(upstreamId, deadlineIn(REMOVAL_MS, signal))).status === "found";
  } catch (thrown) {
    if (isKeyctlError(thrown)) return false;
    throw thrown;
  }
}

type Seen =
  | { readonly status: "ours"; readonly row: KeyRecord }
  /** Another row exists, or none: this row was not sent and will not be sent. */
  | { readonly status: "other" }
  | Unavailable;

interface Unavailable {
  readonly status: "unavailable";
  /** The insert may have reached the store. */
  readonly sent: boolean;
  readonly error: unknown;
}

/** STORE ROW: from here on the secret is durable. */
async function insertNewRow(row: KeyRecord, context: Context, caller?: AbortSignal): Promise<Seen> {
  const insert = (signal: AbortSignal) =>
    settleLostAnswer(
      async () => ((await context.store.insert(row, signal)) ? "inserted" : "refused"),
      async () => "unanswered",
    );
  const inserted = await retryWhileUnavailable(insert, caller);
  // A bug may have struck after the insert was sent.
  if ("error" in inserted)
    return {
      status: "unavailable",
      sent: !isKeyctlError(inserted.error) && !isTimeout(inserted.error),
      error: inserted.error,
    };
  return inserted.value === "inserted" ? { status: "ours", row } : readBackNewRow(row, context, caller);
}

/** A row exists, or the answer was lost: is the row ours? */
async function readBackNewRow(own: KeyRecord, { store }: Context, caller?: AbortSignal): Promise<Seen> {
  const read = await retryWhileUnavailable((signal) => store.find(own.userId, signal), caller);
  if ("error" in read) return { status: "unavailable", sent: true, error: read.error };
  const row = keyIn(read.value);
  return row !== undefined && isSameKey(own, row) ? { status: "ours", row } : { status: "other" };
}

/** RECORD OUTCOME and SETTLE. `not-deleted`: the key is abandoned and may still work. */
async function decide(
  created: UnstoredKey,
  seen: Exclude<Seen, Unavailable>,
  context: Context,
  caller?: AbortSignal,
): Promise<KeyRecord | "lost" | "not-deleted"> {
  const { row: own } = created;
  const { userId, generation: n } = own;
  if (seen.status === "other") {
    // Abandoned before it is deleted: no command that saw its row can save it any more.
    const abandoned = { kind: "out", n, outcome: "abandoned" } as const;
    const outcome = await untilAvailable(own, (signal) => appendEntry(userId, abandoned, context, signal), caller);
    // Saved: another command has seen it in the row and continued, so the key is in use.
    const isInUse = isSavedAs(outcome, own);
    context.history.note({ event: isInUse ? "created" : "abandoned", userId, key: keyOfRow(own) });
    if (isInUse) return "lost";
    return (await deleteNewKey(created, context, caller)) ? "lost" : "not-deleted";
  }
  const { row } = seen;
  const outcome = await untilAvailable(own, (signal) => recordSaved(row, context, signal), caller);
  if (!isSavedAs(outcome, own)) {
    // The key was abandoned while its row existed: the row is removed first, then the key.
    await untilAvailable(own, (signal) => rollBackRow(row, context, signal), caller);
    context.history.note({ event: "abandoned", userId, key: keyOfRow(own) });
    return (await deleteNewKey(created, context, caller)) ? "lost" : "not-deleted";
  }
  context.history.note({ event: "created", userId, key: keyOfRow(own) });
  const isCurrent = await untilAvailable(own, (signal) => isSettledOrHeld(row, context, signal), caller);
  if (isCurrent) return row;
  // A row that is missing proves a purge only in the store that was opened.
  await confirmStoreIsThere(row, context, caller);
  return "lost";
}

/** SETTLE; if another write came first or it was not answered, the row is read once more. */
async function isSettledOrHeld(row: KeyRecord, context: Context, signal: AbortSignal): Promise<boolean> {
  return (await markOwnSettled(row, context, signal)) || isStillHeld(row, context.store, signal);
}

/** **Order:** the last access before a key is handed out shows that its store is still there. */
async function confirmStoreIsThere(row: KeyRecord, { store }: Context, caller?: AbortSignal): Promise<void> {
  await untilAvailable(row, (signal) => store.ping(signal), caller);
}

/** In a store that was restored from an older copy, another key may have been saved under the same number; this key never can be. */
export function isSavedAs(outcome: EntryOf<"out">, { keyHash }: KeyRecord): boolean {
  return outcome.outcome === "saved" && outcome.hash === keyHash;
}

async function spoolNewKey(created: NewKey, sent: boolean, context: Context): Promise<never> {
  const { row, deployment } = created;
  const { userId } = row;
  const kept = await isKept(() => context.spool.write({ ...spooledFrom(row), deployment, sent }));
  if (kept) {
    throw new KeyctlError(
      "STORE_UNAVAILABLE",
      `a key was created for user ${printable(userId)} but the database did not accept it; it is safe, encrypted in a file on this machine`,
      {
        hint: `keyctl sync ${userFlag(userId)}   stores it when the database is back`,
        retryable: true,
        mayHaveHappened: true,
      },
    );
  }
  // The insert was never sent and never will be: without a file, nothing holds the key any more.
  const isGone = !sent && (await deleteNewKey(created, context));
  const fate = sent ? "may be in the database after all" : isGone ? "was deleted again" : "may still work";
  throw new KeyctlError(
    "STORE_UNAVAILABLE",
    `a key was created for user ${printable(userId)} and could be stored neither in the database nor on this machine; it ${fate}`,
    {
      hint: "keyctl reconcile   finds what is left, when the database is back",
      retryable: true,
      mayHaveHappened: true,
    },
  );
}

function spooledFrom(row: KeyRecord): Omit<SpooledKey, "deployment" | "sent"> {
  const { userId, generation: n, keyEncrypted, keyHash, keyTail, origin, createdAt } = row;
  if (keyHash === null || keyTail === null) throw new Error("a key that was just created has no hash");
  return { userId, n, keyEncrypted, keyHash, keyTail, origin, createdAt, ...termsOf(row) };
}

async function isKept(write: () => Promise<void>): Promise<boolean> {
  try {
    await write();
    return true;
  } catch {
    // Whatever the system error is, the file cannot be relied on.
    return false;
  }
}

type Attempted<Value> = { readonly value: Value } | { readonly error: unknown };

/** The error of a store that stayed unavailable, or whose failure is permanent. Each attempt has a time of its own. */
async function retryWhileUnavailable<Value>(
  work: (signal: AbortSignal) => Promise<Value>,
  caller: AbortSignal | undefined,
): Promise<Attempted<Value>> {
  const end = performance.now() + STORE_MS;
  for (;;) {
    try {
      return { value: await withTimeLimit({ timeoutMs: STORE_MS, signal: caller }, work) };
    } catch (error) {
      // Whatever the failure is, a new key must not be lost over it.
      if (!isUnavailable(error) || caller?.aborted === true || performance.now() >= end) return { error };
      await sleep(PAUSE_MS);
    }
  }
}

/** The row may already be there: the next command settles it. */
async function untilAvailable<Value>(
  own: KeyRecord,
  work: (signal: AbortSignal) => Promise<Value>,
  caller: AbortSignal | undefined,
): Promise<Value> {
  const attempted = await retryWhileUnavailable(work, caller);
  if ("value" in attempted) return attempted.value;
  if (!isUnavailable(attempted.error)) throw attempted.error;
  throw new KeyctlError(
    "STORE_UNAVAILABLE",
    `a key was created for user ${printable(own.userId)}, but the database became unavailable before it was in use`,
    {
      hint: `keyctl sync ${userFlag(own.userId)}   finishes it when the database is back`,
      retryable: true,
      mayHaveHappened: true,
    },
  );
}

/** Waiting does not help. */
function isDamage(thrown: unknown): boolean {
  return isKeyctlError(thrown) && thrown.code === "STORE_CORRUPT";
}

function isUnavailable(thrown: unknown): boolean {
  const isOfStore = isKeyctlError(thrown) && (thrown.code === "STORE_UNAVAILABLE" || thrown.code === "STORE_DENIED");
  return isOfStore || isTimeout(thrown);
}
