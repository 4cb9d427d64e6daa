import { isKeyctlError, KeyctlError } from "../model/errors.ts";
import type { ErrorCode } from "../model/errors.ts";

export interface CallOptions {
  /** How long to wait at most, in milliseconds. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** How long a call may take that says nothing else, in milliseconds. */
export const DEFAULT_TIMEOUT_MS = 30_000;
/** The longest that a timer waits, 24 days: one that is set for longer fires at once. */
const LONGEST_MS = 2 ** 31 - 1;

/** A time-out that a timer keeps, in milliseconds. Throws USAGE for what is no time. */
export function clampTimeout(milliseconds: number): number {
  if (typeof milliseconds === "number" && milliseconds >= 0) return Math.min(Math.ceil(milliseconds), LONGEST_MS);
  throw new KeyctlError("USAGE", "a time-out is a number of milliseconds that is not negative", {
    hint: "timeoutMs: 30000",
  });
}

/** Aborted when the time is over, or by the caller, whichever comes first. Throws USAGE for a time-out that is no time. */
export function deadlineSignal({ timeoutMs, signal }: CallOptions, defaultMs: number): AbortSignal {
  const time = AbortSignal.timeout(clampTimeout(timeoutMs ?? defaultMs));
  return signal === undefined ? time : anySignal(time, signal);
}

/**
 * `AbortSignal.any`, which holds its signals weakly: a time-out that nothing else refers to may be garbage-collected
 * and then never comes (https://github.com/nodejs/node/issues/57736). Here they live as long as what they end.
 */
export function anySignal(...signals: AbortSignal[]): AbortSignal {
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
export function toKeyctlError(thrown: unknown, signal?: AbortSignal): KeyctlError {
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

/** What stopped this work, or null; a failure with the code `passed` is thrown, and so is a bug. */
export async function failureOf(work: () => Promise<void>, passed: ErrorCode): Promise<KeyctlError | null> {
  try {
    await work();
    return null;
  } catch (thrown) {
    const failure = toKeyctlError(thrown);
    if (failure.code === passed) throw failure;
    return failure;
  }
}

/** The time that a piece of work may take, with all its attempts and waits. */
export interface Deadline {
  /** In milliseconds; never negative. */
  remainingMs(): number;
  /** Aborted when the caller stops waiting. Of this work alone: Node warns of one that many listen to. */
  readonly signal: AbortSignal;
}

/**
 * A budget that runs from now on.
 * @param now milliseconds of a clock that nobody sets, whatever its zero
 */
export function deadlineIn(
  totalMs: number,
  signal: AbortSignal,
  now: () => number = () => performance.now(),
): Deadline {
  const end = now() + clampTimeout(totalMs);
  return { remainingMs: () => Math.max(0, end - now()), signal };
}

/** Throws the reason of a signal that the caller has aborted. A time-out is no such thing: it is a budget that is used up. */
export function throwIfCancelled({ signal }: Deadline): void {
  if (signal.aborted && !isTimeout(signal.reason)) throw signal.reason;
}
