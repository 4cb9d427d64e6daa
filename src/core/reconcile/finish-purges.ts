import type { UserId } from "../model/user-id.ts";
import type { UpstreamSnapshot } from "./upstream-snapshot.ts";
import type { ReconcileContext } from "./repair.ts";
import type { KeyctlError } from "../model/errors.ts";
import { claims } from "./claims.ts";
import { repair } from "./plan.ts";

/** Purge 1 of a user without a row, once the retained keys are owed: what died half-way is finished, and what is owed is done. */
export async function finishPurges(
  user: UserId,
  inventory: UpstreamSnapshot,
  context: ReconcileContext,
): Promise<{ readonly removed: number; readonly error: KeyctlError | null }> {
  const { claims: claimed } = await claims(inventory, context, user);
  const claim = claimed[0] ?? { user, keys: [] };
  const findings = await repair(claim, context);
  return {
    removed: findings.filter(({ action, done }) => action === "delete" && done).length,
    error: findings.find(({ error }) => error !== null)?.error ?? null,
  };
}
