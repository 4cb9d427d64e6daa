import { setMaxListeners } from "node:events";
import { isKeyctlError, KeyctlError } from "../model/errors.ts";
import type { ErrorCode } from "../model/errors.ts";

export interface CallOptions {
  /** How long to wait at most, in milliseconds. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Why something is changed, in a person's words, for the history. */
  readonly reason?: string | undefined;
}

/** The default time limit of a call, in milliseconds. */
export const DEFAULT_TIMEOUT_MS = 30_000;
/** The longest time that a timer can wait, 24 days: a longer timer fires at once. */
const LONGEST_MS = 2 ** 31 - 1;

/** A time-out that a timer can keep, in milliseconds. Throws USAGE for a value that is not a time. */
export function clampTimeout(milliseconds: number): number {
  if (typeof milliseconds === "number" && milliseconds >= 0) return Math.min(Math.ceil(milliseconds), LONGEST_MS);
  throw new KeyctlError("USAGE", "a time-out is a number of milliseconds that is not negative", {
    hint: "timeoutMs: 30000",
  });
}

/** Aborted when the time is over, or by the caller, whichever comes first. Throws USAGE for a time-out that is not a time. */
export function deadlineSignal({ timeoutMs, signal }: CallOptions, defaultMs: number): AbortSignal {
  const time = AbortSignal.timeout(clampTimeout(timeoutMs ?? defaultMs));
  return signal === undefined ? time : anySignal(time, signal);
}

/** A time limit for work that has an end: until it is cleared, its timer keeps it in memory. */
export interface TimeLimit {
  /** Aborted when the time is over, or by the caller. */
  readonly signal: AbortSignal;
  /** To be called when the work has ended: the signal is not aborted any more. */
  readonly clear: () => void;
}

/**
 * As `deadlineSignal`. `AbortSignal.timeout` and `AbortSignal.any` cannot be cleared: they outlive all but a full garbage
 * collection, which a server with many calls pays for. Throws USAGE for a time-out that is not a time.
 */
export function timeLimit({ timeoutMs, signal }: CallOptions, defaultMs: number): TimeLimit {
  const controller = new AbortController();
  // Any number of waits may depend on it.
  setMaxListeners(0, controller.signal);
  const abort = (reason: unknown) => controller.abort(reason);
  const timer = setTimeout(() => abort(timeoutError()), clampTimeout(timeoutMs ?? defaultMs)).unref();
  const unfollow = signal === undefined ? () => {} : followSignal(signal, abort);
  return {
    signal: controller.signal,
    clear() {
      clearTimeout(timer);
      unfollow();
    },
  };
}

/** The result of work with a time limit of its own. */
export async function withTimeLimit<Result>(
  options: CallOptions & { readonly timeoutMs: number },
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const limit = timeLimit(options, options.timeoutMs);
  try {
    return await work(limit.signal);
  } finally {
    limit.clear();
  }
}

/** At most so many timers exist for a run, however many steps it begins in a second. */
const SHARES = 100;

/**
 * A signal for each step of a run, whose end is not known. Steps that begin at nearly the same time share one, so a step
 * may lose a hundredth of its time.
 */
export function stepSignals(options: CallOptions, defaultMs: number): () => AbortSignal {
  const shareMs = clampTimeout(options.timeoutMs ?? defaultMs) / SHARES;
  let last: AbortSignal | undefined;
  let since = 0;
  return () => {
    const now = performance.now();
    if (last === undefined || last.aborted || now - since >= shareMs) {
      last = deadlineSignal(options, defaultMs);
      setMaxListeners(0, last);
      since = now;
    }
    return last;
  };
}

function timeoutError(): DOMException {
  return new DOMException("The operation was aborted due to timeout", "TimeoutError");
}

type Follower = (reason: unknown) => void;

interface Followed {
  readonly followers: Set<Follower>;
  readonly tellAll: () => void;
}

/** One listener for each signal: Node warns about a signal with many, and a server passes one signal to all its calls. */
const followed = new WeakMap<AbortSignal, Followed>();

/** Calls the follower when the signal is aborted; at once if it is. The result ends that, and leaves nothing behind. */
function followSignal(signal: AbortSignal, follower: Follower): () => void {
  if (signal.aborted) {
    follower(signal.reason);
    return () => {};
  }
  const { followers, tellAll } = followed.get(signal) ?? followFirst(signal);
  followers.add(follower);
  return () => {
    followers.delete(follower);
    if (followers.size > 0) return;
    signal.removeEventListener("abort", tellAll);
    followed.delete(signal);
  };
}

function followFirst(signal: AbortSignal): Followed {
  const followers = new Set<Follower>();
  const tellAll = () => {
    for (const follower of followers) follower(signal.reason);
  };
  const entry = { followers, tellAll };
  followed.set(signal, entry);
  signal.addEventListener("abort", tellAll, { once: true });
  return entry;
}

/**
 * As `AbortSignal.any`, but without losing a time-out: `AbortSignal.any` holds its signals weakly, so a time-out that nothing
 * else refers to may be garbage-collected and never fire (https://github.com/nodejs/node/issues/57736).
 */
export function anySignal(...signals: AbortSignal[]): AbortSignal {
  const first = AbortSignal.any(signals);
  kept.set(first, signals);
  return first;
}

/** Aborted only when the time of that signal is over. */
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

/** Returns an expected failure; throws a bug again. */
export function toKeyctlError(thrown: unknown, signal?: AbortSignal): KeyctlError {
  if (isKeyctlError(thrown)) return thrown;
  if (isTimeout(thrown)) {
    return new KeyctlError("STORE_UNAVAILABLE", "timed out before the database answered", {
      hint: "another program may be blocking it; try again, or give more time with --timeout",
      retryable: true,
    });
  }
  if (signal?.aborted === true && thrown === signal.reason) {
    return new KeyctlError("INTERRUPTED", "the caller stopped waiting", { retryable: true });
  }
  throw thrown;
}

/** The failure that stopped this work, or null. A failure with the code `passed` is thrown, and so is a bug. */
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

/** The time that a piece of work may take, including all attempts and waits. */
export interface Deadline {
  /** In milliseconds; never negative. */
  remainingMs(): number;
  /** Aborted when the caller stops waiting. Used by this work alone: Node warns about a signal with many listeners. */
  readonly signal: AbortSignal;
}

/**
 * A budget that starts now.
 * @param now milliseconds of a monotonic clock
 */
export function deadlineIn(
  totalMs: number,
  signal: AbortSignal,
  now: () => number = () => performance.now(),
): Deadline {
  const end = now() + clampTimeout(totalMs);
  return { remainingMs: () => Math.max(0, end - now()), signal };
}

/** Throws the reason of a signal that the caller has aborted. A time-out does not count: it only uses up the budget. */
export function throwIfCancelled({ signal }: Deadline): void {
  if (signal.aborted && !isTimeout(signal.reason)) throw signal.reason;
}
