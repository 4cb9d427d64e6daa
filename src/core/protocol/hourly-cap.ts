import { MAX_CLOCK_SKEW_MS } from "../model/clock-skew.ts";
import { KeyctlError } from "../model/errors.ts";
import { isFresh } from "../ports/journal.ts";
import type { LiveOperation } from "../ports/journal.ts";
import type { Timestamp } from "../model/key-record.ts";
import { isTimeout } from "../async/deadline.ts";
import { sleep } from "../async/sleep.ts";
import type { Context } from "../context.ts";

/**
 * **Invariant:** within an hour, no more keys than the cap are created without a person asking, whatever runs at once and
 * wherever. **Order:** record the operation, then count those that nobody has abandoned, this one included. The last of
 * several to be recorded sees all others, so that too many never go on; one that is too many is abandoned before it has
 * created a key, and what was abandoned does not count.
 */

const HOUR_MS = 3_600_000;
const WAIT = { leastMs: 200, mostMs: 2_000 } as const;

/**
 * Whether the cap leaves room for one more key. False where operations that are under way use up the rest of it, which may
 * yet come to nothing. Throws PROVISION_CAP where no room can come soon.
 * @param at when the caller's operation began, or would begin
 * @param recorded how many of the operations that are counted are the caller's own
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

/** A while of random length, so that those who were too many do not meet again. Throws PROVISION_CAP when the time is over first. */
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
    hint: "find out why so many are requested; KEYCTL_MAX_PROVISIONS_PER_HOUR sets the limit, and keyctl provision has none",
    retryable: true,
  });
}

/** It stays counted: what is stale and without an outcome will not get one soon. */
function isLasting({ at, isSaved }: LiveOperation, now: number): boolean {
  return isSaved || !isFresh(at, now);
}

function timestamp(milliseconds: number): Timestamp {
  return new Date(milliseconds).toISOString();
}
