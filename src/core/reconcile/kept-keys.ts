import type { SavedOutcome } from "../ports/journal.ts";
import { isStored } from "../protocol/delete-upstream.ts";
import type { ReconcileContext } from "./reconcile-context.ts";

/**
 * **Invariant:** a kept key is removed only on request, and only if no row holds it: somebody may have saved it again.
 * **Order:** mark it for deletion in the journal, then remove it like every key whose deletion is owed.
 */
export async function isRemovableKept(
  outcome: SavedOutcome | { readonly outcome: "abandoned" } | undefined,
  { includeKept = false, store, newSignal }: Pick<ReconcileContext, "includeKept" | "store" | "newSignal">,
): Promise<boolean> {
  if (!includeKept || outcome?.outcome !== "saved") return false;
  for (const hash of [outcome.hash, outcome.upstreamHash]) {
    if (hash !== null && (await isStored(hash, store, newSignal))) return false;
  }
  return true;
}
