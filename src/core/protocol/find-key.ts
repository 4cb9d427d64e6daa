import type { KeyRecord } from "../model/key-record.ts";
import { blockedError, isTombstone } from "../model/tombstone.ts";
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

/**
 * **Invariant:** a key is handed out only by an access that saw it current in its row: a settled row, the SETTLE that won, or
 * this read of the row after its outcome is recorded. A command that stopped at an older read would hand out a key that was
 * purged or replaced in the meantime.
 */
export async function isStillHeld(
  seen: Pick<KeyRecord, "userId" | "generation" | "keyHash">,
  store: Pick<KeyStore, "find">,
  signal: AbortSignal,
): Promise<boolean> {
  const row = await findKey(store, seen.userId, signal);
  return row?.generation === seen.generation && row.keyHash === seen.keyHash;
}
