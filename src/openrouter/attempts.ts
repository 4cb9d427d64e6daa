import { throwIfGivenUp } from "../core/budget.ts";
import type { Budget } from "../core/budget.ts";
import type { Clock } from "../core/ports.ts";
import type { Pause } from "../core/upstream.ts";
import { judge } from "./exchange.ts";
import type { Failure, Judged, Reply, Sending, Transport } from "./exchange.ts";
import type { Deadlines } from "./limits.ts";
import { DECISIONS, isRetry, MAX_ATTEMPTS, waitMs } from "./retry.ts";
import type { Decision, Kind } from "./retry.ts";

/** What sends and waits; all of it is passed in. */
export interface Means {
  readonly transport: () => Promise<Transport>;
  readonly clock: Clock;
  /** Rejects once the signal is aborted. */
  readonly wait: (milliseconds: number, signal: AbortSignal) => Promise<unknown>;
  /** From 0 to 1. */
  readonly random: () => number;
  readonly onWait: (pause: Pause) => void;
  readonly onSend: () => void;
  readonly deadlines: Deadlines;
}

export type Request = Omit<Sending, "deadlineMs" | "isCreation">;

/** How a request ended, with all its attempts. */
export type Ending = (Reply | FinalFailure) & { readonly attempts: number };

type FinalFailure = Failure & {
  readonly decision: Decision;
  /** An attempt of it may have been obeyed. */
  readonly wantsReading: boolean;
};

const NO_TIME: Ending = {
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
 * Sends a request, again where the table of retries says so, while the budget lasts. Rejects only when the caller stops
 * waiting, with the signal's reason, and never for a creation.
 */
export async function attempts(
  request: Request,
  kind: Kind,
  budget: Budget,
  means: Means,
  most = MAX_ATTEMPTS,
): Promise<Ending> {
  const transport = await means.transport();
  let ending = NO_TIME;
  for (let attempt = 1; mayBegin(budget); attempt += 1) {
    const judged = await once(transport, request, kind, budget, means);
    if (judged.kind === "reply") return { ...judged, attempts: attempt };
    const decision = DECISIONS[judged.event][kind];
    const wantsReading = decision === "retry-then-read" || (ending.kind === "failure" && ending.wantsReading);
    ending = { ...judged, decision, wantsReading, attempts: attempt };
    if (!isRetry(decision) || attempt === most) break;
    const isRateLimited = judged.event === "rate-limited" || judged.event === "rate-limited-by-edge";
    const cause = { attempt, detail: judged.detail, isRateLimited };
    if (!(await pause(cause, judged.retryAfterMs ?? 0, budget, means))) break;
  }
  if (kind !== "creation") throwIfGivenUp(budget);
  return ending;
}

/** Waits before the next attempt. False, at once where it is clear, when the budget does not hold the wait. */
export async function pause(
  { attempt, detail, isRateLimited }: Omit<Pause, "waitMs">,
  floorMs: number,
  budget: Budget,
  { random, onWait, wait }: Means,
): Promise<boolean> {
  const milliseconds = waitMs(attempt, floorMs, budget.remainingMs(), random);
  if (milliseconds === undefined || budget.signal.aborted) return false;
  onWait({ waitMs: milliseconds, attempt, detail, isRateLimited });
  try {
    await wait(milliseconds, budget.signal);
  } catch (thrown) {
    if (!budget.signal.aborted) throw thrown;
  }
  return mayBegin(budget);
}

/** One attempt, whatever comes of it; the table of retries is not asked. */
async function once(
  transport: Transport,
  request: Request,
  kind: Kind,
  budget: Budget,
  { clock, deadlines, onSend }: Means,
): Promise<Judged> {
  const isCreation = kind === "creation";
  const deadlineMs = isCreation ? deadlines.creation : Math.min(deadlines.attempt, budget.remainingMs());
  onSend();
  const exchange = await transport.send({ ...request, deadlineMs, isCreation }, budget.signal);
  return judge(exchange, request.token, clock.now().getTime());
}

function mayBegin(budget: Budget): boolean {
  return budget.remainingMs() > 0 && !budget.signal.aborted;
}
