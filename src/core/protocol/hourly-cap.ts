import { MAX_CLOCK_SKEW_MS } from "../model/clock-skew.ts";
import { KeyctlError } from "../model/errors.ts";
import { isFresh } from "../ports/journal.ts";
import type { LiveOperation } from "../ports/journal.ts";
import type { Timestamp } from "../model/key-record.ts";
import { isTimeout } from "../async/deadline.ts";
import { sleep } from "../async/sleep.ts";
import type { Context } from "../context.ts";

/**
 * **Invariant:** within an hour, no more keys than the cap are created automatically, whatever runs at once and
 * wherever.
 * **Order:** (1) record the operation; (2) count the operations that are not abandoned, including this one; (3) create
 * the key, or abandon the operation if it exceeds the cap. The last of several recorded operations sees all others, so
 * too many never continue. Abandoned operations do not count.
 */

const HOUR_MS = 3_600_000;
const WAIT = { leastMs: 200, mostMs: 2_000 } as const;

/**
 * Whether the cap leaves room for one more key. False if operations that are under way use up the rest of the cap: they
 * may still be abandoned. Throws PROVISION_CAP if no room is possible soon.
 * @param at when the caller's operation started, or would start
 * @param recorded the number of the caller's own operations among those that are counted
 */
export async function hasRoomUnderCap(
  { journal, provisioning }: Pick<Context, "journal" | "provisioning">,
  at: Timestamp,
  recorded: 0 | 1,
  signal: AbortSignal,
): Promise<boolean> {
  const cap = provisioning.maxPerHour();
  if (cap === 0) return true;
  const now = Date.parse(at);
  const between = [timestamp(now - HOUR_MS), timestamp(now + MAX_CLOCK_SKEW_MS)] as const;
  const tooMany = cap + recorded;
  const live = await journal.liveOperations(between, tooMany, signal);
  if (live.length < tooMany) return true;
  if (live.filter((operation) => isLasting(operation, now)).length < cap) return false;
  throw capReached(cap);
}

/** Waits for a random time, so that competing commands do not meet again. Throws PROVISION_CAP after a time-out. */
export async function waitForRoom(cap: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(WAIT.leastMs + Math.random() * (WAIT.mostMs - WAIT.leastMs), signal);
  } catch (thrown) {
    throw isTimeout(thrown) ? capReached(cap) : thrown;
  }
}

function capReached(cap: number): KeyctlError {
  const message = `${cap} keys were created automatically within the last hour, or are being created, which is the limit`;
  return new KeyctlError("PROVISION_CAP", message, {
    hint: "find out why so many are requested; KEYCTL_MAX_PROVISIONS_PER_HOUR sets the limit; keyctl provision, and renew of many users, have none",
    retryable: true,
  });
}

/** The operation stays counted: it is saved, or it is stale and will not get an outcome soon. */
function isLasting({ at, isSaved }: LiveOperation, now: number): boolean {
  return isSaved || !isFresh(at, now);
}

function timestamp(milliseconds: number): Timestamp {
  return new Date(milliseconds).toISOString();
}
