import { keyIn } from "../model/tombstone.ts";
import type { Context } from "../context.ts";
import { deadlineIn } from "../async/deadline.ts";
import { KeyctlError } from "../model/errors.ts";
import type { UserId } from "../model/user-id.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { retryOnConflict } from "./contention.ts";
import type { Deletion } from "./confirm-deletion.ts";
import { removeUpstream } from "./delete-upstream.ts";
import type { AccountKeys } from "./management-access.ts";
import { confirmGeneration, recordGone, revokePredecessor, withTrueGeneration } from "./settle-row.ts";
import { blockToFinish, takeOutRow } from "./write-row.ts";

export interface RemovalContext extends Pick<Context, "store" | "journal" | "clock" | "history"> {
  readonly keys: AccountKeys;
  /** For each step. */
  readonly newSignal: () => AbortSignal;
}

/** A key that is marked for deletion. */
export interface OwedKey {
  readonly user: UserId;
  readonly n: number;
  /** SHA-256 of the key, which a row that a person saved holds; OpenRouter's id may differ from it. Null: not known. */
  readonly keyHash: string | null;
  /** OpenRouter's id of the key. */
  readonly upstreamId: string;
  /** A purge that died before it changed the row was to leave a tombstone. Missing for a key that was replaced. */
  readonly blocks?: boolean;
  /** Asks with the key itself whether it still works; missing or null if its text is not at hand. */
  readonly checkKey?: Deletion["checkKey"];
}

const REMOVAL_MS = 30_000;

/**
 * **Order:** the row first: a row that still holds the key is removed before the key. Throws REVOKE_PENDING if the deletion
 * could not be confirmed.
 */
export async function removeOwed(owed: OwedKey, context: RemovalContext): Promise<void> {
  const { user, n, keyHash, upstreamId } = owed;
  const { store, history, newSignal } = context;
  await retryOnConflict(user, async () => {
    const found = keyIn(await store.find(user, newSignal()));
    const row = found === undefined ? undefined : await withTrueGeneration(found, context, newSignal());
    if (row !== undefined && holds(row, owed)) {
      // RECORD OUTCOME and REVOKE PREDECESSOR, as before every removal of a row.
      if (!(await confirmGeneration(row, context, newSignal()))) return "conflict";
      await revokePredecessor(row, context, newSignal());
      const block = owed.blocks === true && row.generation === n;
      await takeOutRow(row, await blockToFinish({ block }, context, newSignal()), context, newSignal());
      return "conflict";
    }
    const mayComeBack = row !== undefined && row.generation > 0 && !row.settled && row.previous?.generation === n;
    // RECORD OUTCOME decides, as for every reader of the row. If the row is rolled back, the key is found in it.
    if (mayComeBack && !(await confirmGeneration(row, context, newSignal()))) return "conflict";
    await removeConfirmed(owed, context);
    const key = { keyHash: keyHash ?? upstreamId, keyTail: null, generation: n };
    history.note({ event: "revoked", userId: user, key, isFinished: true });
    return recordGone(user, n, context, newSignal());
  });
}

function holds(row: KeyRecord, { n, keyHash, upstreamId }: OwedKey): boolean {
  if (row.generation > 0 || row.keyHash === null) return row.generation === n;
  return row.keyHash === keyHash || row.keyHash === upstreamId;
}

/** DELETE UPSTREAM. Throws REVOKE_PENDING if the deletion could not be confirmed. */
export async function removeConfirmed(
  { upstreamId, checkKey }: Pick<OwedKey, "upstreamId" | "checkKey">,
  { keys, newSignal }: Pick<RemovalContext, "keys" | "newSignal">,
): Promise<void> {
  const removal = await removeUpstream(upstreamId, keys, deadlineIn(REMOVAL_MS, newSignal()), checkKey);
  if (removal.status !== "unknown") return;
  throw new KeyctlError("REVOKE_PENDING", `a key to be removed may still work: OpenRouter ${removal.detail}`, {
    hint: "keyctl reconcile --fix   tries again",
    retryable: true,
  });
}
