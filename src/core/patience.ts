import { isKeyctlError, KeyctlError } from "./errors.ts";

export interface Patience {
  /** How long to wait at most, in milliseconds. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** How long a call may take that says nothing else, in milliseconds. */
export const DEFAULT_TIMEOUT_MS = 30_000;
/** The longest that a timer waits, 24 days: one that is set for longer fires at once. */
const LONGEST_MS = 2 ** 31 - 1;

/** A time-out that a timer keeps, in milliseconds. Throws USAGE for what is no time. */
export function timeLimit(milliseconds: number): number {
  if (typeof milliseconds === "number" && milliseconds >= 0) return Math.min(Math.ceil(milliseconds), LONGEST_MS);
  throw new KeyctlError("USAGE", "a time-out is a number of milliseconds that is not negative", {
    hint: "timeoutMs: 30000",
  });
}

/** Aborted when the time is over, or by the caller, whichever comes first. Throws USAGE for a time-out that is no time. */
export function patienceOf({ timeoutMs, signal }: Patience, defaultMs: number): AbortSignal {
  const time = AbortSignal.timeout(timeLimit(timeoutMs ?? defaultMs));
  return signal === undefined ? time : firstOf(time, signal);
}

/**
 * `AbortSignal.any`, which holds its signals weakly: a time-out that nothing else refers to may be garbage-collected
 * and then never comes (https://github.com/nodejs/node/issues/57736). Here they live as long as what they end.
 */
export function firstOf(...signals: AbortSignal[]): AbortSignal {
  const first = AbortSignal.any(signals);
  kept.set(first, signals);
  return first;
}

/** Aborted when the time of that signal is over, and by nothing else. */
export function timeOf(signal: AbortSignal): AbortSignal {
  const controller = new AbortController();
  const follow = () => {
    if (isTimeout(signal.reason)) controller.abort(signal.reason);
  };
  if (signal.aborted) follow();
  else signal.addEventListener("abort", follow, { once: true });
  kept.set(controller.signal, [signal]);
  return controller.signal;
}

const kept = new WeakMap<AbortSignal, readonly AbortSignal[]>();

/** The reason of a signal whose time is over. */
export function isTimeout(reason: unknown): boolean {
  return reason instanceof DOMException && reason.name === "TimeoutError";
}

/** What was thrown as an expected failure; a bug is thrown again. */
export function asFailure(thrown: unknown, signal?: AbortSignal): KeyctlError {
  if (isKeyctlError(thrown)) return thrown;
  if (isTimeout(thrown)) {
    return new KeyctlError("STORE_UNAVAILABLE", "the time was over before the database had answered", {
      hint: "another program may hold it up; try again, or give more time with --timeout",
      retryable: true,
    });
  }
  if (signal?.aborted === true && thrown === signal.reason) {
    return new KeyctlError("INTERRUPTED", "the caller stopped waiting", { retryable: true });
  }
  throw thrown;
}
