import { KeyctlError } from "../model/errors.ts";
import { withRemedy } from "../ports/openrouter.ts";
import type { UpstreamKey, UpstreamKeys } from "../ports/openrouter.ts";
import type { Deadline } from "../async/deadline.ts";
import type { OnStep } from "../model/work-step.ts";

/** Every key upstream, in all workspaces, disabled keys included. */
export interface UpstreamSnapshot {
  readonly byHash: ReadonlyMap<string, UpstreamKey>;
  /** When the first pass began, in milliseconds since 1970. */
  readonly at: number;
  /** Two passes agreed: a key that is missing here is missing upstream. */
  readonly isStable: boolean;
}

/** While keys are created and deleted, pages shift, and a pass may miss a key. */
const MOST_PASSES = 5;

interface InventoryTask {
  /** For each page. */
  readonly budget: () => Deadline;
  /** Now, in milliseconds since 1970. */
  readonly at: number;
  readonly onStep: OnStep;
}

/** Rejects with PROVIDER_UNAVAILABLE for an incomplete list, which proves nothing. */
export async function takeInventory(
  keys: UpstreamKeys,
  { budget, at, onStep }: InventoryTask,
): Promise<UpstreamSnapshot> {
  const byHash = new Map<string, UpstreamKey>();
  let before: ReadonlySet<string> | undefined;
  for (let pass = 0; pass < MOST_PASSES; pass += 1) {
    const seen = new Set<string>();
    for await (const page of keys.list({ kind: "everywhere" }, budget)) {
      if (page.status === "unknown") {
        const message = `the list of all keys broke off: OpenRouter ${page.detail}`;
        const details = withRemedy(page.remedy, "try again later; nothing was changed");
        throw new KeyctlError("PROVIDER_UNAVAILABLE", message, details);
      }
      for (const key of page.keys) {
        seen.add(key.hash);
        byHash.set(key.hash, key);
      }
      onStep({ part: "listing", done: seen.size, total: before?.size });
    }
    if (before !== undefined && before.size === seen.size && [...seen].every((hash) => before?.has(hash))) {
      return { byHash, at, isStable: true };
    }
    before = seen;
  }
  return { byHash, at, isStable: false };
}
