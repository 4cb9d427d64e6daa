import type { Clock } from "../../core/ports/stores-and-sources.ts";
import type { RetryPause, Unknown } from "../../core/ports/openrouter.ts";
import { ANOTHER_PROGRAM } from "./answer-remedies.ts";
import { classifyResponse } from "./exchange.ts";
import type { Failure, Judged, Reply, HttpRequest, Transport, Deadlines } from "./exchange.ts";
import { DECISIONS, isRetry, MAX_ATTEMPTS, waitMs } from "./retry-policy.ts";
import type { RetryDecision, RequestKind, FailureKind } from "./retry-policy.ts";
import { throwIfCancelled } from "../../core/async/deadline.ts";
import type { Deadline } from "../../core/async/deadline.ts";
import type { UnknownReason } from "../../core/model/unknown-reason.ts";

/** The functions that send and wait, passed in by the caller. */
export interface HttpContext {
  readonly transport: () => Promise<Transport>;
  readonly clock: Clock;
  /** Rejects once the signal is aborted. */
  readonly wait: (milliseconds: number, signal: AbortSignal) => Promise<unknown>;
  /** From 0 to 1. */
  readonly random: () => number;
  readonly onWait: (backOff: RetryPause) => void;
  readonly onSend: () => void;
  /** Told of each time that an answer says, in milliseconds since 1970. */
  readonly onServerTime: (time: number) => void;
  readonly deadlines: Deadlines;
}

export interface Request extends Omit<HttpRequest, "deadlineMs" | "isCreation"> {
  readonly kind: RequestKind;
}

/** How a request ended after all its attempts. */
export type RequestOutcome = (Reply | FinalFailure) & { readonly attempts: number };

type FinalFailure = Failure & {
  readonly decision: RetryDecision;
  /** An attempt may have taken effect. */
  readonly wantsReading: boolean;
};

const NO_TIME: RequestOutcome = {
  kind: "failure",
  event: "not-connected",
  httpStatus: null,
  date: undefined,
  timedOut: true,
  detail: "was not asked: no time was left",
  retryAfterMs: undefined,
  remedy: undefined,
  isOwnError: false,
  decision: "no",
  wantsReading: false,
  attempts: 0,
};

/**
 * Sends a request, and resends it as the retry table allows, within the budget. Rejects only with the signal's reason, when
 * the caller stops waiting, and never for a creation.
 */
export async function sendWithRetries(
  request: Request,
  deadline: Deadline,
  context: HttpContext,
  maxAttempts = MAX_ATTEMPTS,
): Promise<RequestOutcome> {
  const transport = await context.transport();
  let ending = NO_TIME;
  for (let attempt = 1; mayBegin(deadline); attempt += 1) {
    const judged = await sendOnce(request, transport, deadline, context);
    if (judged.kind === "reply") return { ...judged, attempts: attempt };
    const decision = DECISIONS[judged.event][request.kind];
    const wantsReading = decision === "retry-then-read" || (ending.kind === "failure" && ending.wantsReading);
    ending = { ...judged, decision, wantsReading, attempts: attempt };
    if (!isRetry(decision) || attempt === maxAttempts) break;
    const isRateLimited = judged.event === "rate-limited" || judged.event === "rate-limited-by-edge";
    const cause = { attempt, detail: judged.detail, isRateLimited };
    if (!(await pause(cause, judged.retryAfterMs ?? 0, deadline, context))) break;
  }
  if (request.kind !== "creation") throwIfCancelled(deadline);
  return ending;
}

/** Waits before the next attempt. Returns false, at once if that is clear, when the wait exceeds the budget. */
export async function pause(
  { attempt, detail, isRateLimited }: Omit<RetryPause, "waitMs">,
  floorMs: number,
  deadline: Deadline,
  { random, onWait, wait }: HttpContext,
): Promise<boolean> {
  const milliseconds = waitMs(attempt, floorMs, deadline.remainingMs(), random);
  if (milliseconds === undefined || deadline.signal.aborted) return false;
  onWait({ waitMs: milliseconds, attempt, detail, isRateLimited });
  try {
    await wait(milliseconds, deadline.signal);
  } catch (thrown) {
    if (!deadline.signal.aborted) throw thrown;
  }
  return mayBegin(deadline);
}

/** One attempt, without retries. */
async function sendOnce(
  { kind, ...request }: Request,
  transport: Transport,
  deadline: Deadline,
  { clock, deadlines, onSend, onServerTime }: HttpContext,
): Promise<Judged> {
  const isCreation = kind === "creation";
  const deadlineMs = isCreation ? deadlines.creation : Math.min(deadlines.attempt, deadline.remainingMs());
  onSend();
  const exchange = await transport.send({ ...request, deadlineMs, isCreation }, deadline.signal);
  const judged = classifyResponse(exchange, request.token, clock.now().getTime());
  if (judged.date !== undefined) onServerTime(judged.date);
  return judged;
}

function mayBegin(deadline: Deadline): boolean {
  return deadline.remainingMs() > 0 && !deadline.signal.aborted;
}

const REASONS: Readonly<Record<FailureKind, UnknownReason>> = {
  "not-connected": "unreachable",
  "not-trusted": "unreachable",
  "proxy-refused": "unreachable",
  "answer-lost": "unreachable",
  "server-failed": "provider_error",
  "rate-limited": "rate_limited",
  "rate-limited-by-edge": "rate_limited",
  refused: "provider_error",
  unusable: "provider_error",
};

/** The report on a request without a decisive answer. */
export function unknown(ending: RequestOutcome): Unknown {
  const { httpStatus, attempts } = ending;
  if (ending.kind === "reply") {
    const detail = `answered ${httpStatus} with something that its API does not describe`;
    return { status: "unknown", reason: "provider_error", httpStatus, attempts, detail, remedy: ANOTHER_PROGRAM };
  }
  const { detail, remedy } = ending;
  return { status: "unknown", reason: unknownReasonOf(ending), httpStatus, attempts, detail, remedy };
}

export function unknownReasonOf({
  timedOut,
  event,
}: {
  readonly timedOut: boolean;
  readonly event: FailureKind;
}): UnknownReason {
  return timedOut ? "timed_out" : REASONS[event];
}
