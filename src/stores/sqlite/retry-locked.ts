import { RESULT, resultCode } from "./result.ts";
import { retryWhile } from "../../core/async/retry-while.ts";

/**
 * Does this at once, or as soon as no other process holds the lock. SQLite's own waiting would freeze the event loop,
 * so between attempts this sleeps, with jitter. Rejects with the signal's reason when that is aborted first.
 * `act` must be all or nothing: it is done again from its start.
 */
export function whileUnlocked<Result>(act: () => Result, signal: AbortSignal): Promise<Result> {
  return retryWhile(act, isLocked, signal);
}

function isLocked(thrown: unknown): boolean {
  const code = resultCode(thrown);
  return code === RESULT.busy || code === RESULT.locked;
}
