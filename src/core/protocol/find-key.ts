import type { KeyRecord } from "../model/key-record.ts";
import { blockedError, isTombstone, keyIn } from "../model/tombstone.ts";
import type { KeyStore } from "../ports/stores-and-sources.ts";
import type { UserId } from "../model/user-id.ts";

/** The row with the user's key. Throws USER_BLOCKED where a tombstone stands. */
export async function findKey(
  store: Pick<KeyStore, "find">,
  user: UserId,
  signal: AbortSignal,
): Promise<KeyRecord | undefined> {
  const row = await store.find(user, signal);
  if (isTombstone(row)) throw blockedError(row);
  return row;
}

type SeenKey = Pick<KeyRecord, "generation" | "keyHash">;

/**
 * **Invariant:** a key is handed out only by an access that saw it current in its row: a settled row, the SETTLE that won, or
 * this read of the row after its outcome is recorded. A command that stopped at an older read would hand out a key that was
 * purged or replaced in the meantime.
 */
export async function isStillHeld(
  seen: SeenKey & Pick<KeyRecord, "userId">,
  store: Pick<KeyStore, "find">,
  signal: AbortSignal,
): Promise<boolean> {
  return isSameKey(seen, await findKey(store, seen.userId, signal));
}

/** As `isStillHeld`, for many users. */
export async function usersStillHolding(
  rows: readonly KeyRecord[],
  store: Pick<KeyStore, "findMany">,
  signal: AbortSignal,
): Promise<ReadonlySet<UserId>> {
  if (rows.length === 0) return new Set();
  const seen = new Map(rows.map((row) => [row.userId, row]));
  const found = await store.findMany([...seen.keys()], signal);
  const held = found.filter((row) => isSameKey(seen.get(row.userId), keyIn(row)));
  return new Set(held.map(({ userId }) => userId));
}

/** Whether the row holds the key that was seen, of the same generation. */
export function isSameKey(seen: SeenKey | undefined, row: KeyRecord | undefined): boolean {
  return row !== undefined && row.generation === seen?.generation && row.keyHash === seen.keyHash;
}
