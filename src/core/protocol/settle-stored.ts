import type { Context } from "../context.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { keyIn } from "../model/tombstone.ts";
import type { UserId } from "../model/user-id.ts";
import { retryOnConflict } from "./contention.ts";
import { confirmGeneration, markSettled, revokePredecessor } from "./settle-row.ts";

export interface SettleContext extends Pick<Context, "store" | "journal" | "clock" | "history"> {
  /** For each step. */
  readonly newSignal: () => AbortSignal;
}

/** The user's row after RECORD OUTCOME, REVOKE PREDECESSOR and SETTLE; undefined without a key. */
export async function settleStored(user: UserId, context: SettleContext): Promise<KeyRecord | undefined> {
  const { store, newSignal } = context;
  return retryOnConflict(user, async () => {
    const row = keyIn(await store.find(user, newSignal()));
    if (row === undefined || row.settled) return row;
    if (!(await confirmGeneration(row, context, newSignal()))) return "conflict";
    await revokePredecessor(row, context, newSignal());
    await markSettled(row, context, newSignal());
    return "conflict";
  });
}
