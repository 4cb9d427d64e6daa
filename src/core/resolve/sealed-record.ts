import type { KeyRecord } from "../model/key-record.ts";
import type { Context } from "../context.ts";
import type { UserId } from "../model/user-id.ts";
import type { ApiKey } from "../model/api-key.ts";
import type { Sealer, Clock } from "../ports/stores-and-sources.ts";
import { newRecord } from "../model/key-record.ts";

/** A settled row needs no further read: it was seen to hold its key. Throws USER_BLOCKED. */
export async function isInUse(row: KeyRecord, context: Context, signal: AbortSignal): Promise<boolean> {
  if (row.settled || row.generation === 0) return true;
  const { confirmGeneration } = await import("../protocol/settle-row.ts");
  const { isStillHeld } = await import("../protocol/find-key.ts");
  return (await confirmGeneration(row, context, signal)) && isStillHeld(row, context.store, signal);
}

/** @param given a key, and the name of its source */
export function sealed(
  user: UserId,
  { key, name: origin }: { readonly key: ApiKey; readonly name: string },
  sealer: Sealer,
  clock: Clock,
): KeyRecord {
  return newRecord(user, { key, sealed: sealer.seal(key, user), origin, now: clock.now().toISOString() });
}
