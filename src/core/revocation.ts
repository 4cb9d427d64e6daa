import { budgetOf } from "./budget.ts";
import { isKeyctlError, KeyctlError } from "./errors.ts";
import { maskOfRecord, storedValue } from "./key-record.ts";
import type { KeyRecord } from "./key-record.ts";
import { isTimeout } from "./patience.ts";
import { printable } from "./printable.ts";
import type { Parts } from "./resolution.ts";
import type { FormerKey } from "./results.ts";
import { userFlag } from "./shell-quote.ts";
import { requireUpstreamKeys } from "./upstream-access.ts";
import { removeUpstream } from "./upstream-removal.ts";
import type { UserId } from "./user-id.ts";

/**
 * The law of changes, for save and purge alike: no row is changed that was not read, and what was read is compared as it
 * is changed. A person's yes is for the key that they were shown, and for no other. What OpenRouter did not confirm is
 * pending, never done.
 */

export type Revocation =
  | { readonly status: "done" | "kept" | "not_ours" }
  | { readonly status: "pending"; readonly detail: string };

export const KEPT = { status: "kept" } as const;

/** OpenRouter's id of the key in a row; null where what is stored is no key. */
export function upstreamIdOf(row: KeyRecord): string | null {
  return row.generation > 0 ? (row.upstreamHash ?? row.keyHash) : (hashInClear(row) ?? row.keyHash);
}

/** Disabled, then deleted. What could not be confirmed is pending, never done. */
export async function revokeUpstream(row: KeyRecord, parts: Parts, signal: AbortSignal): Promise<Revocation> {
  const hash = upstreamIdOf(row);
  if (hash === null) return { status: "pending", detail: "what is stored is no key, so that its hash is not known" };
  return revokeById(hash, parts, signal);
}

/** As `revokeUpstream`, of a key that stands in no row. */
export async function revokeById(hash: string, parts: Parts, signal: AbortSignal): Promise<Revocation> {
  try {
    const keys = await requireUpstreamKeys(parts, "no key can be removed");
    const removal = await removeUpstream(hash, keys, budgetOf(REVOCATION_MS, signal));
    return removal.status === "unknown"
      ? { status: "pending", detail: `OpenRouter ${removal.detail}` }
      : { status: "done" };
  } catch (thrown) {
    if (isKeyctlError(thrown)) return { status: "pending", detail: thrown.message };
    if (isTimeout(thrown)) return { status: "pending", detail: "the time was over" };
    throw thrown;
  }
}

/** The caller's own time may be longer. */
const REVOCATION_MS = 30_000;

export function hashInClear(row: KeyRecord): string | null {
  const value = storedValue(row.keyEncrypted);
  return value.kind === "clear" ? value.key.hash : null;
}

export function stillOwed(user: UserId, detail: string, verb: "save" | "purge", otherHint?: string): KeyctlError {
  const what = verb === "save" ? "the key that was replaced" : "the key is out of the database but";
  const command = verb === "save" ? `reconcile ${userFlag(user)} --fix` : `purge ${userFlag(user)} --revoke`;
  const hint = otherHint ?? `keyctl ${command}`;
  return new KeyctlError("REVOKE_PENDING", `${what} may still work: ${detail}`, { hint, retryable: true });
}

export function changedMeanwhile(user: UserId): KeyctlError {
  return new KeyctlError("CONFLICT", `the key of user ${printable(user)} was changed meanwhile; nothing was done`, {
    hint: `keyctl get ${userFlag(user)} --stored   shows what is there now`,
    retryable: true,
  });
}

export function formerKey(row: KeyRecord): FormerKey {
  return { key: maskOfRecord(row), keyHash: row.keyHash, origin: row.origin };
}
