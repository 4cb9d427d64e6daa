import { isKeyctlError, KeyctlError } from "../model/errors.ts";
import { appendEntry } from "./write-journal.ts";
import type { EntryOf } from "../ports/journal.ts";
import { termsOf } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { anySignal, isTimeout, timeOf, deadlineIn } from "../async/deadline.ts";
import { printable } from "../text/printable.ts";
import { markOwnSettled, rollBackRow, recordSaved } from "./settle-row.ts";
import { userFlag } from "../text/shell-quote.ts";
import type { SpooledKey } from "../ports/spool.ts";
import { removeUpstream } from "./delete-upstream.ts";
import type { UpstreamKeys } from "../ports/openrouter.ts";
import type { Context } from "../context.ts";

/**
 * **Order:** (1) insert the row, so that the secret is durable; (2) insert the `saved` outcome, which makes the key current;
 * (3) look whether the store is still the one that was opened; (4) hand the key out. A row whose insert was not answered is
 * looked for, and never sent again. A store that fails in between may have been taken away with the row: the key then waits
 * in a file, and whoever brings it in reads what has become of it. Only a key whose insert was certainly never sent may be
 * deleted without a decision.
 */

/** What a key is besides its row. */
export interface Origin {
  readonly deployment: string;
  /** OpenRouter's own id of it. */
  readonly upstreamId: string;
  /** Resolves when the store is bound to its account, as far as that can be done; does not reject. */
  readonly accountBound: Promise<void>;
}

/** How long a store that fails is tried before the key goes elsewhere. */
const STORE_MS = 10_000;
const PAUSE_MS = 100;
const REMOVAL_MS = 20_000;

/** Sync 6 to 8, for a key that was just made. Gives the settled row, or `lost` when it is decided against and removed. */
export async function placeKey(
  row: KeyRecord,
  origin: Origin,
  keys: UpstreamKeys,
  context: Context,
): Promise<KeyRecord | "lost"> {
  const seen = await insertNewRow(row, context);
  if (seen.status === "away") return spoolNewKey(row, origin, seen.sent, keys, context);
  try {
    const end = await decide(row, seen, origin.upstreamId, keys, context);
    if (end === "lost" || end === "left") return "lost";
    await origin.accountBound;
    await lookOnceMore(end, context);
    return end;
  } catch (thrown) {
    if (!isUnavailable(thrown)) throw thrown;
    return spoolNewKey(row, origin, true, keys, context);
  }
}

/**
 * As `placeKey`, for a key from the spool, until the caller's time is over; a signal does not cut it, since a write in
 * flight would then be taken for one that was not sent. `away`: the store is, and whether the insert may have reached it.
 */
export async function placeSpooled(
  row: KeyRecord,
  sent: boolean,
  upstreamId: string,
  keys: UpstreamKeys | undefined,
  context: Context,
  signal: AbortSignal,
): Promise<"decided" | "undecided" | { readonly away: Away }> {
  const caller = timeOf(signal);
  const seen = sent ? await readBackNewRow(row, context, caller) : await insertNewRow(row, context, caller);
  if (seen.status === "away") return { away: seen };
  if (seen.status === "foreign" && !(await mayDelete(upstreamId, keys, context, caller))) return "undecided";
  const end = await decide(row, seen, upstreamId, keys, context, caller);
  // Its file stays until the key is gone.
  if (end === "left") return "undecided";
  if (end !== "lost") await lookOnceMore(end, context, caller);
  return "decided";
}

/**
 * Not without a management key, and not with one of another account. For a store that is bound to none yet, the account is
 * the one that has the key: that it is missing elsewhere would say that it is deleted.
 */
async function mayDelete(
  upstreamId: string,
  keys: UpstreamKeys | undefined,
  { account }: Context,
  caller: AbortSignal,
): Promise<boolean> {
  if (keys === undefined) return false;
  try {
    const signal = anySignal(caller, AbortSignal.timeout(REMOVAL_MS));
    if ((await (await account.open()).standing(signal)) !== "unbound") return true;
    return (await keys.find(upstreamId, deadlineIn(REMOVAL_MS, signal))).status === "found";
  } catch (thrown) {
    if (isKeyctlError(thrown)) return false;
    throw thrown;
  }
}

type Seen =
  | { readonly status: "mine"; readonly row: KeyRecord }
  /** There is another row, or none: this one is not, and will not be sent. */
  | { readonly status: "foreign" }
  | Away;

interface Away {
  readonly status: "away";
  /** The insert may have reached the store. */
  readonly sent: boolean;
  readonly error: unknown;
}

/** Sync 6: this persists the secret. */
async function insertNewRow(row: KeyRecord, context: Context, caller?: AbortSignal): Promise<Seen> {
  const inserted = await retryWhileUnavailable(async (signal) => {
    try {
      return (await context.store.insert(row, signal)) ? "done" : "refused";
    } catch (thrown) {
      if (isKeyctlError(thrown) && thrown.mayHaveHappened) return "unanswered";
      throw thrown;
    }
  }, caller);
  // A bug may have come after the sending.
  if ("error" in inserted)
    return {
      status: "away",
      sent: !isKeyctlError(inserted.error) && !isTimeout(inserted.error),
      error: inserted.error,
    };
  return inserted.value === "done" ? { status: "mine", row } : readBackNewRow(row, context, caller);
}

/** There is a row, or nobody said: is it mine? */
async function readBackNewRow(own: KeyRecord, { store }: Context, caller?: AbortSignal): Promise<Seen> {
  const read = await retryWhileUnavailable((signal) => store.find(own.userId, signal), caller);
  if ("error" in read) return { status: "away", sent: true, error: read.error };
  const { value: row } = read;
  const isMine = row?.generation === own.generation && row.keyHash === own.keyHash;
  return isMine ? { status: "mine", row } : { status: "foreign" };
}

/** Sync 7 and 8. `left`: it is decided against, and may still work. */
async function decide(
  own: KeyRecord,
  seen: Exclude<Seen, { status: "away" }>,
  upstreamId: string,
  keys: UpstreamKeys | undefined,
  context: Context,
  caller?: AbortSignal,
): Promise<KeyRecord | "lost" | "left"> {
  const { userId, generation: n } = own;
  if (seen.status === "foreign") {
    // Decided against before it is deleted: nobody who saw its row can save it any more.
    const abandoned = { kind: "out", n, outcome: "abandoned" } as const;
    const outcome = await decided(own, (signal) => appendEntry(userId, abandoned, context, signal), caller);
    // Saved: somebody has seen it in the row and moved on, so that it is theirs now.
    if (isSavedAs(outcome, own)) return "lost";
    return (await deleteNewKey(upstreamId, keys, caller)) ? "lost" : "left";
  }
  const { row } = seen;
  const outcome = await decided(own, (signal) => recordSaved(row, context, signal), caller);
  if (!isSavedAs(outcome, own)) {
    // It was decided against while its row stood: the row goes first, then the key.
    await decided(own, (signal) => rollBackRow(row, context, signal), caller);
    return (await deleteNewKey(upstreamId, keys, caller)) ? "lost" : "left";
  }
  await markOwnSettled(row, context, storeTime(caller));
  return row;
}

/** **Order:** the last access before a key is handed out shows that its store is still there. */
async function lookOnceMore(row: KeyRecord, { store }: Context, caller?: AbortSignal): Promise<void> {
  await decided(row, (signal) => store.ping(signal), caller);
}

/** In a store that was restored from an older copy, another key may have been saved under the same number: this one never can be. */
export function isSavedAs(outcome: EntryOf<"out">, { keyHash }: KeyRecord): boolean {
  return outcome.outcome === "saved" && outcome.hash === keyHash;
}

/** False for what could not be removed now: the next reconcile finds it, since it is decided against. */
async function deleteNewKey(
  upstreamId: string,
  keys: UpstreamKeys | undefined,
  caller?: AbortSignal,
): Promise<boolean> {
  if (keys === undefined) return false;
  try {
    const removal = await removeUpstream(
      upstreamId,
      keys,
      deadlineIn(REMOVAL_MS, caller ?? new AbortController().signal),
    );
    return removal.status !== "unknown";
  } catch (thrown) {
    if (isKeyctlError(thrown)) return false;
    throw thrown;
  }
}

async function spoolNewKey(
  row: KeyRecord,
  { deployment, upstreamId }: Origin,
  sent: boolean,
  keys: UpstreamKeys,
  { spool }: Context,
): Promise<never> {
  const kept = await isKept(() => spool.write({ ...spooledFrom(row), deployment, sent }));
  if (kept) {
    throw new KeyctlError(
      "STORE_UNAVAILABLE",
      `a key was made for user ${printable(row.userId)} and the database does not take it; it is safe, sealed in a file on this machine`,
      { hint: `keyctl sync ${userFlag(row.userId)}   stores it when the database is back`, retryable: true },
    );
  }
  // Its insert was never sent, and never will be: without a file there is nobody left who knows the key.
  const isGone = !sent && (await deleteNewKey(upstreamId, keys));
  const { userId } = row;
  const fate = sent ? "may be in the database all the same" : isGone ? "was deleted again" : "may still work";
  throw new KeyctlError(
    "STORE_UNAVAILABLE",
    `a key was made for user ${printable(userId)} and neither the database nor this machine keeps it; it ${fate}`,
    { hint: "keyctl reconcile   finds what is left, when the database is back", retryable: true },
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

/** The error when the store was away all the time, or says that it will not get better. */
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
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

/** Without a caller: a key that was just made is not given up, whoever stops waiting. */
function storeTime(caller: AbortSignal | undefined): AbortSignal {
  const time = AbortSignal.timeout(STORE_MS);
  return caller === undefined ? time : anySignal(time, caller);
}

/** The row may stand already: whoever comes next decides what this could not. */
async function decided<Value>(
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
    { hint: `keyctl sync ${userFlag(own.userId)}   finishes it when the database is back`, retryable: true },
  );
}

function isUnavailable(thrown: unknown): boolean {
  const isOfStore = isKeyctlError(thrown) && (thrown.code === "STORE_UNAVAILABLE" || thrown.code === "STORE_DENIED");
  return isOfStore || isTimeout(thrown);
}
