import { timeLimit } from "./patience.ts";

/** The time that a piece of work may take, with all its attempts and waits. */
export interface Budget {
  /** In milliseconds; never negative. */
  remainingMs(): number;
  /** Aborted when the caller stops waiting. Of this work alone: Node warns of one that many listen to. */
  readonly signal: AbortSignal;
}

/**
 * A budget that runs from now on.
 * @param now milliseconds of a clock that nobody sets, whatever its zero
 */
export function budgetOf(totalMs: number, signal: AbortSignal, now: () => number = () => performance.now()): Budget {
  const end = now() + timeLimit(totalMs);
  return { remainingMs: () => Math.max(0, end - now()), signal };
}

/** Throws the reason of a signal that the caller has aborted. A time-out is no such thing: it is a budget that is used up. */
export function throwIfGivenUp({ signal }: Budget): void {
  if (signal.aborted && !isTimeout(signal)) throw signal.reason;
}

export function isTimeout({ reason }: AbortSignal): boolean {
  return reason instanceof DOMException && reason.name === "TimeoutError";
}
