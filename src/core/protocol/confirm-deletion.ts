import { isKeyctlError } from "../model/errors.ts";
import { anySignal, isTimeout, deadlineIn } from "../async/deadline.ts";
import { sleep } from "../async/sleep.ts";
import type { FindResult, KeyCheck, UpstreamKeys } from "../ports/openrouter.ts";
import type { Deadline } from "../async/deadline.ts";

/**
 * **Invariant:** a key counts as deleted when OpenRouter no longer has its entry and, if its text is at hand, refuses it
 * twice. The answer "deleted" alone is not enough.
 */

/** A key that OpenRouter reports as deleted, missing or disabled. */
export interface Deletion {
  /** The key is to be disabled, and its entry stays. Default: it is to be deleted. */
  readonly isDisabling?: boolean;
  /** OpenRouter's id of the key. */
  readonly hash: string;
  /** The key was deleted a moment ago, which may take seconds to take effect. A key that was missing is asked for once. */
  readonly isFresh: boolean;
  /** Asks with the management key that deleted the key. */
  readonly keys: Pick<UpstreamKeys, "find">;
  /** Asks with the key itself; null if its text is not at hand. */
  readonly checkKey: ((deadline: Deadline) => Promise<KeyCheck>) | null;
}

/** How long a deletion may take to take effect, in milliseconds. */
const CONFIRMATION_MS = 10_000;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 2_000;
/** Keys that are asked at once. */
const AT_ONCE = 20;

/**
 * The doubt about each of these deletions; null if the deletion is confirmed. All keys are asked together. Keys that were
 * deleted a moment ago are asked repeatedly within 10 s and the budget. Each doubt completes a sentence that begins with
 * `OpenRouter`. Rejects only with the reason of the budget's signal, when the caller stops waiting.
 */
export async function doubtsAbout(
  deletions: readonly Deletion[],
  deadline: Deadline,
): Promise<readonly (string | null)[]> {
  const { signal } = deadline;
  const time = deadlineIn(Math.min(CONFIRMATION_MS, deadline.remainingMs()), signal);
  const doubts: (string | null)[] = deletions.map(() => NOT_ASKED);
  let waitMs = FIRST_WAIT_MS;
  for (let rounds = 0; ; rounds += 1) {
    const queue = deletions.entries();
    const work = async () => {
      for (const [index, deletion] of queue) {
        const isDecided = doubts[index] === null || (rounds > 0 && !deletion.isFresh);
        if (isDecided || time.remainingMs() === 0 || signal.aborted) continue;
        // One signal per key: Node warns about a signal with many listeners.
        const doubt = await doubtAbout(deletion, deadlineIn(time.remainingMs(), anySignal(signal)));
        // A request that was cancelled says less than the answer before it.
        if (doubt === null || !signal.aborted) doubts[index] = doubt;
      }
    };
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, deletions.length) }, work));
    const isOver = deletions.every(({ isFresh }, index) => doubts[index] === null || !isFresh);
    if (isOver || time.remainingMs() <= waitMs) return doubts;
    try {
      await sleep(waitMs, signal);
      waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS);
    } catch (thrown) {
      if (isTimeout(thrown)) return doubts;
      throw thrown;
    }
  }
}

const NOT_ASKED = "was not asked whether the key is gone";

async function doubtAbout(deletion: Deletion, deadline: Deadline): Promise<string | null> {
  const { checkKey, isDisabling = false } = deletion;
  const what = isDisabling ? "disabled" : "deleted";
  const entry = await entryOf(deletion, deadline);
  if (entry.status === "found" && !isDisabling) return "says that the key was deleted, and still has it";
  if (entry.status === "found" && !entry.key.disabled)
    return "says that the key was disabled, and still has it enabled";
  if (checkKey === null) return entry.status === "unknown" ? entry.detail : null;
  // OpenRouter is known to refuse a working key now and then: one refusal is not enough.
  for (let refusals = 0; refusals < 2; refusals += 1) {
    const check = await checkKey(deadline);
    if (check.status === "accepted") return `says that the key was ${what}, and still accepts it`;
    if (check.status === "unknown") return check.detail;
  }
  return null;
}

/** A management key that is not (or no longer) allowed to ask for keys leaves the key itself to ask. */
async function entryOf(
  { hash, keys }: Deletion,
  deadline: Deadline,
): Promise<FindResult | { readonly status: "unknown"; readonly detail: string }> {
  try {
    return await keys.find(hash, deadline);
  } catch (thrown) {
    if (!isKeyctlError(thrown)) throw thrown;
    return { status: "unknown", detail: `was not asked: ${thrown.message}` };
  }
}
