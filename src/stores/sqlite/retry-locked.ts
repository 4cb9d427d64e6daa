import { RESULT, resultCode } from "./result.ts";
import { backOff } from "../../core/async/sleep.ts";

const FIRST_PAUSE_MS = 2;
const LONGEST_PAUSE_MS = 100;

/**
 * Does this at once, or as soon as no other process holds the lock. SQLite's own waiting would freeze the event loop,
 * so between attempts this sleeps, with jitter. Rejects with the signal's reason when that is aborted first.
 * `act` must be all or nothing: it is done again from its start.
 */
export async function whileUnlocked<Result>(act: () => Result, signal: AbortSignal): Promise<Result> {
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
    signal.throwIfAborted();
    try {
      return act();
    } catch (thrown) {
      if (!isLocked(thrown)) throw thrown;
    }
    await backOff(pause);
  }
}

function isLocked(thrown: unknown): boolean {
  const code = resultCode(thrown);
  return code === RESULT.busy || code === RESULT.locked;
}
