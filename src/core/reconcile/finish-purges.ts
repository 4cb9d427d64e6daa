import type { UserId } from "../model/user-id.ts";
import type { UpstreamSnapshot } from "./upstream-snapshot.ts";
import type { ReconcileContext } from "./repair.ts";
import type { KeyctlError } from "../model/errors.ts";
import { claims } from "./claims.ts";
import { foldJournal } from "./classify-key.ts";
import { olderKeys, olderStillOwed } from "./older-keys.ts";
import { repair } from "./plan.ts";

/** Purge 1 of a user without a row, once the retained keys are owed: what died half-way is finished, and what is owed is done. */
export async function finishPurges(
  user: UserId,
  inventory: UpstreamSnapshot,
  workshop: ReconcileContext,
): Promise<{ readonly removed: number; readonly error: KeyctlError | null }> {
  const { claims: claimed } = await claims(inventory, workshop, user);
  const claim = claimed[0] ?? { user, keys: [] };
  const findings = await repair(claim, workshop);
  const failed = findings.find(({ error }) => error !== null)?.error ?? null;
  return {
    removed: findings.filter(({ action, done }) => action === "delete" && done).length,
    error: failed ?? (await olderOwed(user, inventory, workshop)),
  };
}

/** What the list of this account says nothing of. */
async function olderOwed(
  user: UserId,
  { byHash }: UpstreamSnapshot,
  workshop: ReconcileContext,
): Promise<KeyctlError | null> {
  if (workshop.adoptedAt === null) return null;
  const facts = foldJournal(await workshop.journal.entries(user, workshop.newSignal()));
  const isListed = (hash: string) => byHash.has(hash);
  const first = olderKeys(facts, undefined, { ...workshop, isListed }).find(({ isOwed }) => isOwed);
  return first === undefined ? null : olderStillOwed(user, first);
}
