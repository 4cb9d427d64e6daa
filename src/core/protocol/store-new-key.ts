import { isKeyctlError, KeyctlError } from "../model/errors.ts";
import { appendEntry } from "./write-journal.ts";
import type { EntryOf } from "../ports/journal.ts";
import { termsOf } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { anySignal, isTimeout, timeOf, deadlineIn } from "../async/deadline.ts";
import { settleLostAnswer } from "./settle-lost-answer.ts";
import { printable } from "../text/printable.ts";
import { markOwnSettled, rollBackRow, recordSaved } from "./settle-row.ts";
import { userFlag } from "../text/shell-quote.ts";
import type { SpooledKey } from "../ports/spool.ts";
import { deleteNewKey } from "./delete-upstream.ts";
import type { UnstoredKey } from "./delete-upstream.ts";
import type { Context } from "../context.ts";
import { sleep } from "../async/sleep.ts";

/**
 * **Order:** (1) insert the row, so that the secret is durable; (2) insert the `saved` outcome, which makes the key current;
 * (3) look whether the store is still the one that was opened; (4) hand the key out. A row whose insert was not answered is
 * looked for, and never sent again. A store that fails in between may have been taken away with the row: the key then waits
 * in a file, and whoever brings it in reads what has become of it. Only a key whose insert was certainly never sent may be
 * deleted without a decision.
 */

export interface NewKey extends UnstoredKey {
  readonly deployment: string;
  /** Resolves when the store is bound to its account, as far as that can be done; does not reject. */
  readonly accountBound: Promise<void>;
}

export interface KeyFromSpool extends UnstoredKey {
  /** Its insert may have reached the store. */
  readonly sent: boolean;
}

/** How long a store that fails is tried before the key goes elsewhere. */
const STORE_MS = 10_000;
const PAUSE_MS = 100;
const REMOVAL_MS = 20_000;

/** STORE ROW and RECORD OUTCOME. Gives the settled row, or `lost` when the key is decided against and removed. */
export async function placeKey(created: NewKey, context: Context): Promise<KeyRecord | "lost"> {
  const seen = await insertNewRow(created.row, context);
  if (seen.status === "unavailable") return spoolNewKey(created, seen.sent, context);
  try {
    const end = await decide(created, seen, context);
    if (end === "lost" || end === "not-deleted") return "lost";
    await created.accountBound;
    await confirmStoreIsThere(end, context);
    return end;
  } catch (thrown) {
    if (!isUnavailable(thrown) && !isDamage(thrown)) throw thrown;
    return spoolNewKey(created, true, context);
  }
}

/**
 * As `placeKey`, for a key from the spool, until the caller's time is over; a signal does not cut it, since a write in
 * flight would then be taken for one that was not sent. `unavailable`: the store is, and whether the insert may have
 * reached it.
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
  // Its file stays until the key is gone.
  if (end === "not-deleted") return "undecided";
  if (end !== "lost") await confirmStoreIsThere(end, context, caller);
  return "decided";
}

/**
 * Not without a management key, and not with one of another account. For a store that is bound to none yet, or that was
 * bound to this one later, the account is the one that has the key: that it is missing elsewhere would say that it is deleted.
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
  /** There is another row, or none: this one is not, and will not be sent. */
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
  // A bug may have come after the sending.
  if ("error" in inserted)
    return {
      status: "unavailable",
      sent: !isKeyctlError(inserted.error) && !isTimeout(inserted.error),
      error: inserted.error,
    };
  return inserted.value === "inserted" ? { status: "ours", row } : readBackNewRow(row, context, caller);
}

/** There is a row, or nobody said: is it ours? */
async function readBackNewRow(own: KeyRecord, { store }: Context, caller?: AbortSignal): Promise<Seen> {
  const read = await retryWhileUnavailable((signal) => store.find(own.userId, signal), caller);
  if ("error" in read) return { status: "unavailable", sent: true, error: read.error };
  const { value: row } = read;
  const isOurs = row?.generation === own.generation && row.keyHash === own.keyHash;
  return isOurs ? { status: "ours", row } : { status: "other" };
}

/** RECORD OUTCOME and SETTLE. `not-deleted`: the key is decided against, and may still work. */
async function decide(
  created: UnstoredKey,
  seen: Exclude<Seen, Unavailable>,
  context: Context,
  caller?: AbortSignal,
): Promise<KeyRecord | "lost" | "not-deleted"> {
  const { row: own } = created;
  const { userId, generation: n } = own;
  if (seen.status === "other") {
    // Decided against before it is deleted: nobody who saw its row can save it any more.
    const abandoned = { kind: "out", n, outcome: "abandoned" } as const;
    const outcome = await untilAvailable(own, (signal) => appendEntry(userId, abandoned, context, signal), caller);
    // Saved: somebody has seen it in the row and moved on, so that it is theirs now.
    if (isSavedAs(outcome, own)) return "lost";
    return (await deleteNewKey(created, context, caller)) ? "lost" : "not-deleted";
  }
  const { row } = seen;
  const outcome = await untilAvailable(own, (signal) => recordSaved(row, context, signal), caller);
  if (!isSavedAs(outcome, own)) {
    // It was decided against while its row stood: the row goes first, then the key.
    await untilAvailable(own, (signal) => rollBackRow(row, context, signal), caller);
    return (await deleteNewKey(created, context, caller)) ? "lost" : "not-deleted";
  }
  await markOwnSettled(row, context, storeTime(caller));
  return row;
}

/** **Order:** the last access before a key is handed out shows that its store is still there. */
async function confirmStoreIsThere(row: KeyRecord, { store }: Context, caller?: AbortSignal): Promise<void> {
  await untilAvailable(row, (signal) => store.ping(signal), caller);
}

/** In a store that was restored from an older copy, another key may have been saved under the same number: this one never can be. */
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
      `a key was made for user ${printable(userId)} and the database does not take it; it is safe, sealed in a file on this machine`,
      {
        hint: `keyctl sync ${userFlag(userId)}   stores it when the database is back`,
        retryable: true,
        mayHaveHappened: true,
      },
    );
  }
  // Its insert was never sent, and never will be: without a file there is nobody left who knows the key.
  const isGone = !sent && (await deleteNewKey(created, context));
  const fate = sent ? "may be in the database all the same" : isGone ? "was deleted again" : "may still work";
  throw new KeyctlError(
    "STORE_UNAVAILABLE",
    `a key was made for user ${printable(userId)} and neither the database nor this machine keeps it; it ${fate}`,
    {
      hint: "keyctl reconcile   finds what is left, when the database is back",
      retryable: true,
      mayHaveHappened: true,
    },
  );
}

function spooledFrom(row: KeyRecord): Omit<SpooledKey, "deployment" | "sent"> {
  const { userId, generation: n, keyEncrypted, keyHash, keyTail, origin, createdAt } = row;
  if (keyHash === null || keyTail === null) throw new Error("a key that was just made has no hash");
  return { userId, n, keyEncrypted, keyHash, keyTail, origin, createdAt, ...termsOf(row) };
}

async function isKept(write: () => Promise<void>): Promise<boolean> {
  try {
    await write();
    return true;
  } catch {
    // Whatever the system says: no file can be relied on then.
    return false;
  }
}

type Attempted<Value> = { readonly value: Value } | { readonly error: unknown };

/** The error of a store that was unavailable all the time, or says that it will not get better. */
async function retryWhileUnavailable<Value>(
  work: (signal: AbortSignal) => Promise<Value>,
  caller: AbortSignal | undefined,
): Promise<Attempted<Value>> {
  const end = performance.now() + STORE_MS;
  for (;;) {
    try {
      return { value: await work(storeTime(caller)) };
    } catch (error) {
      // Whatever it is: a key that was just made is not lost over it.
      if (!isUnavailable(error) || caller?.aborted === true || performance.now() >= end) return { error };
      await sleep(PAUSE_MS);
    }
  }
}

/** Without a caller: a key that was just made is not given up, whoever stops waiting. */
function storeTime(caller: AbortSignal | undefined): AbortSignal {
  const time = AbortSignal.timeout(STORE_MS);
  return caller === undefined ? time : anySignal(time, caller);
}

/** The row may stand already: whoever comes next decides what this could not. */
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
    `a key was made for user ${printable(own.userId)}, and the database went away before it was in use`,
    {
      hint: `keyctl sync ${userFlag(own.userId)}   finishes it when the database is back`,
      retryable: true,
      mayHaveHappened: true,
    },
  );
}

/** It does not get better by waiting. */
function isDamage(thrown: unknown): boolean {
  return isKeyctlError(thrown) && thrown.code === "STORE_CORRUPT";
}

function isUnavailable(thrown: unknown): boolean {
  const isOfStore = isKeyctlError(thrown) && (thrown.code === "STORE_UNAVAILABLE" || thrown.code === "STORE_DENIED");
  return isOfStore || isTimeout(thrown);
}
