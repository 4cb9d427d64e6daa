import { isKeyctlError, KeyctlError } from "../model/errors.ts";
import { hashOfRecord, maskOfRecord, storedValue } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { keyOfRow } from "../model/history-event.ts";
import { silent } from "../model/log-event.ts";
import { openRow } from "../sealing/open-row.ts";
import { isTimeout, deadlineIn } from "../async/deadline.ts";
import { printable } from "../text/printable.ts";
import { doubtsAbout } from "../protocol/confirm-deletion.ts";
import type { Deletion } from "../protocol/confirm-deletion.ts";
import type { FormerKey } from "../model/results.ts";
import { userFlag } from "../text/shell-quote.ts";
import { requireUpstreamKeys } from "../protocol/management-access.ts";
import { disableAndDelete, removeUpstream } from "../protocol/delete-upstream.ts";
import { recordGone } from "../protocol/settle-row.ts";
import type { RetainedKey } from "../protocol/retained-keys.ts";
import type { UserId } from "../model/user-id.ts";
import type { Context } from "../context.ts";

/**
 * **Invariant:** save and purge change no row that they have not read, and compare it with what they read as they change it.
 * A person's confirmation applies to the key that was shown and to no other. A deletion that OpenRouter did not confirm is
 * pending, never done.
 */

export type Revocation =
  | { readonly status: "done" | "kept" | "not_ours" }
  | { readonly status: "pending"; readonly detail: string };

export const KEPT = { status: "kept" } as const;

/** OpenRouter reports the key as deleted, which is still to be confirmed. */
export interface Deleted {
  readonly status: "deleted";
  readonly deletion: Deletion;
  /** Records that the key is deleted. */
  readonly confirmed: (signal: AbortSignal) => Promise<void>;
}

/** OpenRouter's id of the key in a row; null if the stored value is not a key. */
export function upstreamIdOf(row: KeyRecord): string | null {
  return row.generation > 0 ? (row.upstreamHash ?? row.keyHash) : hashOfRecord(row);
}

/** Disables, deletes and confirms. A deletion that could not be confirmed is pending, never done. */
export async function revokeUpstream(row: KeyRecord, context: Context, signal: AbortSignal): Promise<Revocation> {
  const ended = await deleteUpstream(row, context, signal);
  if (ended.status !== "deleted") return ended;
  return confirmDeleted(ended, signal);
}

/** As `revokeUpstream`, of a key that stands in no row: its entry at OpenRouter confirms that it is gone. */
export async function revokeRetained(
  user: UserId,
  { n, keyHash, upstreamId }: RetainedKey,
  context: Context,
  signal: AbortSignal,
): Promise<Revocation> {
  try {
    const keys = await requireUpstreamKeys(context, "no key can be removed");
    const removal = await removeUpstream(upstreamId, keys, deadlineIn(REVOCATION_MS, signal));
    if (removal.status === "unknown") return pending(`OpenRouter ${removal.detail}`);
    await recordGone(user, { keyHash, keyTail: null, generation: n }, context, signal);
    return { status: "done" };
  } catch (thrown) {
    return pendingBecauseOf(thrown);
  }
}

/** As `revokeUpstream`, without the confirmation. */
export async function deleteUpstream(
  row: KeyRecord,
  context: Context,
  signal: AbortSignal,
): Promise<Revocation | Deleted> {
  const hash = upstreamIdOf(row);
  if (hash === null) return pending("the stored value is not a key, so its hash is unknown");
  try {
    const keys = await requireUpstreamKeys(context, "no key can be removed");
    const removal = await disableAndDelete(hash, keys, deadlineIn(REVOCATION_MS, signal));
    if (removal.status === "unknown") return pending(`OpenRouter ${removal.detail}`);
    const checkKey = await keyCheckOf(row, context, signal);
    // A key that keyctl did not create may belong to another account, about which this one says nothing.
    const isProven = removal.status === "done" || row.generation > 0 || checkKey !== null;
    if (!isProven) return pending(NOT_IN_THIS_ACCOUNT);
    const confirmed = async (within: AbortSignal) => {
      const { userId } = row;
      const key = keyOfRow(row);
      if (row.generation > 0) await recordGone(userId, key, context, within);
      else context.history.note({ event: "revoked", userId, key });
    };
    return { status: "deleted", deletion: { hash, isFresh: removal.status === "done", keys, checkKey }, confirmed };
  } catch (thrown) {
    return pendingBecauseOf(thrown);
  }
}

function pendingBecauseOf(thrown: unknown): Revocation {
  if (isKeyctlError(thrown)) return pending(thrown.message);
  if (isTimeout(thrown)) return pending("the time was over");
  throw thrown;
}

export async function confirmDeleted(deleted: Deleted, signal: AbortSignal): Promise<Revocation> {
  const [revocation] = await confirmAll([deleted], signal);
  return revocation ?? pending("its deletion was not confirmed");
}

/** Confirms all of them together, in order. Rejects only when the caller stops waiting. */
export async function confirmAll(deleted: readonly Deleted[], signal: AbortSignal): Promise<readonly Revocation[]> {
  const doubts = await doubtsAbout(
    deleted.map(({ deletion }) => deletion),
    deadlineIn(REVOCATION_MS, signal),
  );
  for (const [index, { confirmed }] of deleted.entries()) if (doubts[index] === null) await confirmed(signal);
  return doubts.map((doubt) => (doubt === null ? { status: "done" } : pending(`OpenRouter ${doubt}`)));
}

/** How the key in a row is asked whether it works; null if the master keys cannot decrypt it. */
export async function keyCheckOf(row: KeyRecord, context: Context, signal: AbortSignal): Promise<Deletion["checkKey"]> {
  try {
    const key = await openRow(row, { ...context, log: silent }, signal);
    if (row.keyHash !== null && row.keyHash !== key.hash) return null;
    const openRouter = await context.openRouter.open();
    return (budget) => openRouter.checkKey(key, budget);
  } catch (thrown) {
    if (isKeyctlError(thrown) || isTimeout(thrown)) return null;
    throw thrown;
  }
}

/** The caller's own time may be longer. */
const REVOCATION_MS = 30_000;
const NOT_IN_THIS_ACCOUNT =
  "it is not in the account of the management key, and without the master keys keyctl cannot check whether it still works";

function pending(detail: string): Extract<Revocation, { status: "pending" }> {
  return { status: "pending", detail };
}

function hashInClear(row: KeyRecord): string | null {
  const value = storedValue(row.keyEncrypted);
  return value.kind === "clear" ? value.key.hash : null;
}

export function stillOwed(user: UserId, detail: string, verb: "save" | "purge", otherHint?: string): KeyctlError {
  const what = verb === "save" ? "the key that was replaced" : "the key is out of the database but";
  const command = verb === "save" ? `reconcile ${userFlag(user)} --fix` : `purge ${userFlag(user)} --revoke`;
  const hint = otherHint ?? `keyctl ${command}`;
  return new KeyctlError("REVOKE_PENDING", `${what} may still work: ${detail}`, { hint, retryable: true });
}

/** After a rotation. */
export function oldKeyPending(row: KeyRecord, detail: string): KeyctlError {
  const message = `the new key is in use, and the old one may still work: ${detail}`;
  if (row.generation > 0) {
    const hint = `keyctl reconcile ${userFlag(row.userId)} --fix`;
    return new KeyctlError("REVOKE_PENDING", message, { hint, retryable: true });
  }
  // No record of it remains: no command would find it.
  return new KeyctlError("REVOKE_PENDING", `${message} (its hash there is ${upstreamIdOf(row) ?? "not known"})`, {
    hint: "delete it at https://openrouter.ai/keys",
  });
}

export function changedMeanwhile(user: UserId): KeyctlError {
  return new KeyctlError(
    "CONFLICT",
    `the key of user ${printable(user)} was changed in the meantime; nothing was done`,
    {
      hint: `keyctl get ${userFlag(user)} --stored   shows what is there now`,
      retryable: true,
    },
  );
}

/** Also for rows in plain text without a hash, as other programs write them. */
export function holdSameKey(row: KeyRecord, other: KeyRecord): boolean {
  return hashOfRecord(row) === hashOfRecord(other) && (row.keyHash !== null || row.keyEncrypted === other.keyEncrypted);
}

export function formerKey(row: KeyRecord): FormerKey {
  return { key: maskOfRecord(row), keyHash: row.keyHash, origin: row.origin, isOurs: row.generation > 0 };
}

/** Throws CONFLICT if another user has the same key: its deletion at OpenRouter would take it from both. */
export async function refuseShared(row: KeyRecord, store: Context["store"], signal: AbortSignal): Promise<void> {
  const hash = hashOfRecord(row);
  if (hash === null || !(await isOfAnother(row, hash, store, signal))) return;
  throw new KeyctlError("CONFLICT", `another user has the key of user ${printable(row.userId)}; nothing was done`, {
    hint: `keyctl list --hash ${hash}`,
  });
}

/** A row in plain text may have no indexed hash: the rows of all other users are compared one by one. */
async function isOfAnother(
  row: KeyRecord,
  hash: string,
  store: Context["store"],
  signal: AbortSignal,
): Promise<boolean> {
  for await (const other of store.scan(() => signal, hash)) if (other.userId !== row.userId) return true;
  for await (const other of store.scan(() => signal)) {
    if (other.userId !== row.userId && hashInClear(other) === hash) return true;
  }
  return false;
}
