import { RUN_FATAL_CODES } from "../model/errors.ts";
import { unconfirmedPurges } from "./purge-key.ts";
import type { Purge } from "./purge-key.ts";
import type { PurgeResult } from "../model/results.ts";
import type { UserId } from "../model/user-id.ts";

/** Purges whose deletions are confirmed together: one key that still works costs the run 10 s for all of them. */
const MAX_HELD = 100;

export interface PurgeSteps {
  readonly purge: (user: UserId) => Promise<Purge>;
  readonly confirm: (purges: readonly Purge[]) => Promise<readonly PurgeResult[]>;
}

/**
 * Purges one user after the other, in order; deletions at OpenRouter are confirmed together. Throws a failure that
 * concerns more than one user, after the results of earlier purges.
 */
export async function* purgeMany(
  batches: AsyncIterable<readonly UserId[]>,
  { purge, confirm }: PurgeSteps,
): AsyncGenerator<readonly PurgeResult[]> {
  let held: Purge[] = [];
  try {
    for await (const batch of batches) {
      for (const user of batch) {
        const next = await purge(user);
        if (next.status === "ended" && next.result.error !== null && RUN_FATAL_CODES.has(next.result.error.code)) {
          throw next.result.error;
        }
        held.push(next);
        const waits = held.some(({ status }) => status === "deleted");
        if (waits && held.length < MAX_HELD) continue;
        yield await confirm(held);
        held = [];
      }
    }
  } catch (thrown) {
    if (held.length > 0) yield await confirm(held).catch(() => unconfirmedPurges(held));
    throw thrown;
  }
  if (held.length > 0) yield await confirm(held);
}
