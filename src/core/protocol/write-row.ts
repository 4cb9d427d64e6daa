import { isKeyctlError, KeyctlError } from "../model/errors.ts";
import { keyOfRow } from "../model/history-event.ts";
import type { KeyRecord, Version } from "../model/key-record.ts";
import { newTombstone } from "../model/tombstone.ts";
import type { Block, StoredRow } from "../model/tombstone.ts";
import type { Context } from "../context.ts";
import type { EntryOf } from "../ports/journal.ts";
import { isTimeout } from "../async/deadline.ts";
import type { KeyStore } from "../ports/stores-and-sources.ts";
import { settleLostAnswer } from "./settle-lost-answer.ts";
import { printable } from "../text/printable.ts";
import { userFlag } from "../text/shell-quote.ts";
import type { UserId } from "../model/user-id.ts";

/**
 * **Invariant:** no write of a row is sent twice. A write whose answer was lost is settled by reading: a visible change
 * has happened. A change that is not visible may still be applied: that is reported, and nothing else is done.
 */

/** As `KeyStore.insert`. */
export function insertRow(store: KeyStore, record: StoredRow, signal: AbortSignal): Promise<boolean> {
  return resolveLostWrite(
    record.userId,
    "written",
    () => store.insert(record, signal),
    async () => {
      const row = await store.find(record.userId, signal);
      return row === undefined ? "unknown" : row.id === record.id;
    },
  );
}

/** As `KeyStore.replace`. */
export function replaceRow(store: KeyStore, record: StoredRow, seen: Version, signal: AbortSignal): Promise<boolean> {
  return resolveLostWrite(
    record.userId,
    "written",
    () => store.replace(record, seen, signal),
    async () => {
      const row = await store.find(record.userId, signal);
      if (row !== undefined && isStill(row, record)) return true;
      return isStill(row, seen) ? "unknown" : false;
    },
  );
}

/** As `KeyStore.remove`. */
export function removeRow(store: KeyStore, user: UserId, seen: Version, signal: AbortSignal): Promise<boolean> {
  return resolveLostWrite(
    user,
    "removed",
    () => store.remove(user, seen, signal),
    async () => {
      const row = await store.find(user, signal);
      if (row?.id !== seen.id) return true;
      return isStill(row, seen) ? "unknown" : false;
    },
  );
}

/**
 * Puts a tombstone in place of the row that was seen. False if the row was changed in the meantime. In a store where two
 * concurrent changes of one row may both win, a command that settles the row could overwrite a tombstone: there the row is
 * removed, and the tombstone inserted.
 */
async function blockRow(
  store: KeyStore,
  blocked: Block,
  { userId, ...seen }: Version & Pick<KeyRecord, "userId">,
  signal: AbortSignal,
): Promise<boolean> {
  if (await store.hasAtomicChanges(signal)) {
    return replaceRow(store, newTombstone(userId, blocked, seen), seen, signal);
  }
  return (await removeRow(store, userId, seen, signal)) && insertRow(store, newTombstone(userId, blocked), signal);
}

/**
 * The block of a purge that died before it changed the row, for the command that finishes it; null: none. Where two
 * concurrent changes of one row may both win, the block is left out: a tombstone that is inserted after the row is gone may
 * come after an unblock that found no row.
 */
export async function blockToFinish(
  { block }: Pick<EntryOf<"rev">, "block">,
  { store, clock }: Pick<Context, "store" | "clock">,
  signal: AbortSignal,
): Promise<Block | null> {
  if (!block || !(await store.hasAtomicChanges(signal))) return null;
  return { at: clock.now().toISOString(), reason: null };
}

/** Removes the row of a purged key, or with a block puts a tombstone in its place, and notes that for the history. */
export async function takeOutRow(
  row: KeyRecord,
  blocked: Block | null,
  { store, history }: Pick<Context, "store" | "history">,
  signal: AbortSignal,
): Promise<boolean> {
  const { userId } = row;
  const isDone = await (blocked === null
    ? removeRow(store, userId, row, signal)
    : blockRow(store, blocked, row, signal));
  if (!isDone) return false;
  const key = keyOfRow(row);
  history.note({ event: "purged", userId, key });
  if (blocked !== null) history.note({ event: "blocked", userId, key });
  return true;
}

/** As `KeyStore.insertMany`. */
export function insertRows(
  store: KeyStore,
  records: readonly KeyRecord[],
  signal: AbortSignal,
): Promise<readonly boolean[]> {
  return settleLostAnswer(
    () => store.insertMany(records, signal),
    async (lost) => {
      const users = records.map(({ userId }) => userId);
      const rows = await readBackOr(undefined, () => store.findMany(users, signal));
      const ids = new Map(rows?.map(({ userId, id }) => [userId, id]));
      const missing = records.filter(({ userId }) => !ids.has(userId));
      const [first, ...others] = missing;
      if (first !== undefined) throw outcomeUnknownError(first.userId, "written", lost, others.length);
      return records.map(({ userId, id }) => ids.get(userId) === id);
    },
  );
}

type Seen = boolean | "unknown";

/** @param readBack whether the write has happened; `unknown` if it still may */
function resolveLostWrite(
  user: UserId,
  what: "written" | "removed",
  write: () => Promise<boolean>,
  readBack: () => Promise<Seen>,
): Promise<boolean> {
  return settleLostAnswer(write, async (lost) => {
    const seen = await readBackOr("unknown" as const, readBack);
    if (seen === "unknown") throw outcomeUnknownError(user, what, lost);
    return seen;
  });
}

/** Returns `otherwise` if the database fails again or the time is over. */
async function readBackOr<Value, Otherwise>(
  otherwise: Otherwise,
  readBack: () => Promise<Value>,
): Promise<Value | Otherwise> {
  try {
    return await readBack();
  } catch (thrown) {
    if (isTimeout(thrown) || (isKeyctlError(thrown) && thrown.code === "STORE_UNAVAILABLE")) return otherwise;
    throw thrown;
  }
}

function isStill(row: StoredRow | undefined, seen: Version): boolean {
  return row?.id === seen.id && row.revision === seen.revision && row.keyEncrypted === seen.keyEncrypted;
}

function outcomeUnknownError(user: UserId, what: "written" | "removed", lost: KeyctlError, others = 0): KeyctlError {
  const does = what === "written" ? "may still be applied" : "may still be deleted";
  const question =
    others === 0
      ? `whether the key of user ${printable(user)} was ${what}; it ${does}`
      : `whether the keys of user ${printable(user)} and ${others} more were ${what}; they ${does}`;
  return new KeyctlError("STORE_UNAVAILABLE", `the database did not say ${question}`, {
    hint: `keyctl get ${userFlag(user)} --stored   shows what is there; this is what failed: ${lost.message}`,
    retryable: true,
    mayHaveHappened: true,
  });
}
