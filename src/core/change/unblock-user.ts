import type { Context } from "../context.ts";
import type { KeyRecord } from "../model/key-record.ts";
import type { UnblockResult } from "../model/results.ts";
import { isTombstone } from "../model/tombstone.ts";
import type { UserId } from "../model/user-id.ts";
import type { Warning } from "../model/warning.ts";
import { retryOnConflict } from "../protocol/contention.ts";
import { confirmGeneration, revokePredecessor, withTrueGeneration } from "../protocol/settle-row.ts";
import { removeRow, takeOutRow } from "../protocol/write-row.ts";

/**
 * Removes the tombstone by compare-and-set, so that neither a later block nor a key is removed. **Invariant:** after it no
 * reconcile blocks the user again: a purge with a block that died is finished here, without its block. It brings no key back:
 * the next sync begins with a new generation.
 */
export async function unblockUser(user: UserId, context: Context, signal: AbortSignal): Promise<UnblockResult> {
  const { store, history } = context;
  const unblocked = (...warnings: readonly Warning[]) => {
    history.note({ event: "unblocked", userId: user, key: null });
    return unblockedResult(user, true, warnings);
  };
  return retryOnConflict(user, async () => {
    const found = await store.find(user, signal);
    if (found === undefined) return unblockedResult(user, false);
    if (isTombstone(found)) return (await removeRow(store, user, found, signal)) ? unblocked() : "conflict";
    if (!(await confirmGeneration(found, context, signal))) return "conflict";
    const row = await withTrueGeneration(found, context, signal);
    if (!(await isToBeBlocked(row, context, signal))) return unblockedResult(user, false);
    await revokePredecessor(row, context, signal);
    return (await takeOutRow(row, null, context, signal)) === "out" ? unblocked(PURGE_FINISHED) : "conflict";
  });
}

/** Whether a purge with a block died before it changed the row. */
async function isToBeBlocked(
  { userId, generation }: KeyRecord,
  { journal }: Pick<Context, "journal">,
  signal: AbortSignal,
): Promise<boolean> {
  if (generation === 0) return false;
  return (await journal.entry(userId, "rev", generation, signal))?.block === true;
}

const PURGE_FINISHED: Warning = {
  code: "PURGE_FINISHED",
  message: "an interrupted purge with --block was finished without its block: the key is out of the database",
};

function unblockedResult(userId: UserId, unblocked: boolean, warnings: readonly Warning[] = []): UnblockResult {
  return { userId, unblocked, warnings, error: null };
}
