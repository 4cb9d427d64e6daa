import { isKeyctlError, KeyctlError } from "./errors.ts";
import type { KeyRecord, Version } from "./key-record.ts";
import type { KeyStore } from "./ports.ts";
import { printable } from "./printable.ts";
import { userFlag } from "./shell-quote.ts";
import type { UserId } from "./user-id.ts";

/**
 * The law of writes: nothing is sent twice. A write whose answer was lost is settled by reading: what is seen has
 * happened, and what is not seen may still land, which is said and left alone.
 */

/** As `KeyStore.insert`. */
export function insertRow(store: KeyStore, record: KeyRecord, signal: AbortSignal): Promise<boolean> {
  return settled(
    record.userId,
    () => store.insert(record, signal),
    async () => (await store.find(record.userId, signal))?.id === record.id,
  );
}

/** As `KeyStore.replace`. */
export function replaceRow(store: KeyStore, record: KeyRecord, seen: Version, signal: AbortSignal): Promise<boolean> {
  return settled(
    record.userId,
    () => store.replace(record, seen, signal),
    async () => {
      const row = await store.find(record.userId, signal);
      return row?.id === record.id && row.keyEncrypted === record.keyEncrypted;
    },
  );
}

/** As `KeyStore.remove`. */
export function removeRow(store: KeyStore, user: UserId, seen: Version, signal: AbortSignal): Promise<boolean> {
  return settled(
    user,
    () => store.remove(user, seen, signal),
    async () => (await store.find(user, signal))?.id !== seen.id,
  );
}

/** As `KeyStore.insertMany`. */
export async function insertRows(
  store: KeyStore,
  records: readonly KeyRecord[],
  signal: AbortSignal,
): Promise<readonly boolean[]> {
  try {
    return await store.insertMany(records, signal);
  } catch (thrown) {
    if (!isKeyctlError(thrown) || !thrown.mayHaveHappened) throw thrown;
    const users = records.map(({ userId }) => userId);
    const landed = new Set((await store.findMany(users, signal)).map(({ id }) => id));
    const missing = records.find(({ id }) => !landed.has(id));
    if (missing !== undefined) throw mayStillLand(missing.userId);
    return records.map(() => true);
  }
}

async function settled(
  user: UserId,
  write: () => Promise<boolean>,
  hasHappened: () => Promise<boolean>,
): Promise<boolean> {
  try {
    return await write();
  } catch (thrown) {
    if (!isKeyctlError(thrown) || !thrown.mayHaveHappened) throw thrown;
    if (await hasHappened()) return true;
    throw mayStillLand(user);
  }
}

function mayStillLand(user: UserId): KeyctlError {
  return new KeyctlError(
    "STORE_UNAVAILABLE",
    `the database did not say whether the key of user ${printable(user)} was written; it may still land`,
    { hint: `keyctl get ${userFlag(user)} --stored   shows what is there`, retryable: true, mayHaveHappened: true },
  );
}
