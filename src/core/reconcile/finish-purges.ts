import type { UserId } from "../model/user-id.ts";
import type { UpstreamSnapshot } from "./upstream-snapshot.ts";
import { KeyctlError } from "../model/errors.ts";
import { printable } from "../text/printable.ts";
import { userFlag } from "../text/shell-quote.ts";
import type { Finding } from "./finding.ts";
import { claims } from "./claims.ts";
import { foldJournal } from "./classify-key.ts";
import { olderKeys, olderStillOwed } from "./older-keys.ts";
import { repair } from "./repair.ts";
import type { ReconcileContext } from "./reconcile-context.ts";

/** Finishes the purges of a user without a row once the retained keys are marked for deletion: interrupted ones, and pending deletions. */
export async function finishPurges(
  user: UserId,
  inventory: UpstreamSnapshot,
  context: ReconcileContext,
): Promise<{ readonly removed: number; readonly error: KeyctlError | null }> {
  const { claims: claimed } = await claims(inventory, context, user);
  const claim = claimed[0] ?? { user, keys: [] };
  const findings = await repair(claim, context);
  const failed = findings.find(({ error }) => error !== null)?.error ?? null;
  return {
    removed: findings.filter(({ action, done }) => action === "delete" && done).length,
    error: failed ?? undecided(user, findings) ?? (await olderOwed(user, inventory, context)),
  };
}

/** A key that another command is creating, or was creating when it died a moment ago: it is too early to decide about it. */
function undecided(user: UserId, findings: readonly Finding[]): KeyctlError | null {
  if (!findings.some((finding) => finding.class === "undecided")) return null;
  const message = `a key of user ${printable(user)} was created within the last minute and is in no row yet; it may still work`;
  return new KeyctlError("REVOKE_PENDING", message, {
    hint: `keyctl purge ${userFlag(user)} --revoke   in a minute deletes it, if no command has stored it by then`,
    retryable: true,
  });
}

/** Keys about which the list of this account proves nothing. */
async function olderOwed(
  user: UserId,
  { byHash }: UpstreamSnapshot,
  context: ReconcileContext,
): Promise<KeyctlError | null> {
  if (context.adoptedAt === null) return null;
  const facts = foldJournal(await context.journal.entries(user, context.newSignal()));
  const isListed = (hash: string) => byHash.has(hash);
  const first = olderKeys(facts, undefined, { ...context, isListed }).find(({ isOwed }) => isOwed);
  return first === undefined ? null : olderStillOwed(user, first);
}
