import { KeyctlError } from "../model/errors.ts";
import type { KeyRecord, Timestamp } from "../model/key-record.ts";
import type { UserId } from "../model/user-id.ts";
import { printable } from "../text/printable.ts";
import { classifyKey } from "./classify-key.ts";
import type { JournalState } from "./classify-key.ts";
import { REPORTED } from "./finding.ts";
import type { Finding } from "./finding.ts";
import type { ReconcileContext } from "./reconcile-context.ts";

/**
 * Older keys: keys of an account that the store was bound to before. Their absence from the list of this account proves
 * nothing: such a key may work until its deletion is proven.
 */

interface Comparison extends Pick<ReconcileContext, "adoptedAt" | "deployment"> {
  readonly isListed: (hash: string) => boolean;
}

export interface OlderKey {
  /** OpenRouter's id of the key. */
  readonly hash: string;
  /** It is marked for deletion. */
  readonly isOwed: boolean;
}

/** A user's older keys that are in use or marked for deletion, and not listed; without keys that are kept on purpose. */
export function olderKeys(
  facts: JournalState,
  row: KeyRecord | undefined,
  { adoptedAt, deployment, isListed }: Comparison,
): readonly OlderKey[] {
  if (adoptedAt === null) return [];
  return [...facts.out.values()].flatMap((out) => {
    if (out.outcome !== "saved" || facts.gone.has(out.n)) return [];
    const began = facts.op.get(out.n)?.at ?? out.at;
    const hash = out.upstreamHash ?? out.hash;
    if (began > adoptedAt || isListed(hash)) return [];
    const { kind } = classifyKey({ hash, name: "" }, facts, row, { deployment, now: 0 });
    return kind === "kept" ? [] : [{ hash, isOwed: kind === "owed" || kind === "superseded" }];
  });
}

/** REVOKE_PENDING. */
export function olderStillOwed(user: UserId, { hash }: OlderKey): KeyctlError {
  return new KeyctlError(
    "REVOKE_PENDING",
    `a key that keyctl created for user ${printable(user)} may still work: it is older than the database's binding to this account, and was not proven to be gone in the one before (its hash there is ${hash})`,
    { hint: "the same command with a management key of the account before, or   https://openrouter.ai/keys" },
  );
}

/** When the store was bound to its account instead of another one. */
export async function adoptionOf(
  { journal }: Pick<ReconcileContext, "journal">,
  signal: AbortSignal,
): Promise<Timestamp | null> {
  return (await journal.account(signal))?.adoptedAt ?? null;
}

export function reportedAsOlder(userId: UserId, { hash: keyHash }: OlderKey): Finding {
  return { ...REPORTED, class: "other_account", userId, keyHash, name: null };
}
