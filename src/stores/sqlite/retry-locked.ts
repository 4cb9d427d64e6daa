import { RESULT, resultCode } from "./result.ts";
import { retryWhile } from "../../core/async/retry-while.ts";

/**
 * Runs `act` at once, or as soon as no other process holds the lock. Rejects with the signal's reason if the signal is
 * aborted first. `act` must be all or nothing: each attempt runs it from its start. Sleeps between attempts, with
 * jitter, because SQLite's own waiting would block the event loop.
 */
export function whileUnlocked<Result>(act: () => Result, signal: AbortSignal): Promise<Result> {
  return retryWhile(act, isLocked, signal);
}

/** Whether SQLite refused because of a lock that another connection holds. */
export function isLocked(thrown: unknown): boolean {
  const code = resultCode(thrown);
  return code === RESULT.busy || code === RESULT.locked;
}
