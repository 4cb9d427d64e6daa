/** How one attempt can fail. */
export type FailureKind =
  /** No DNS, no connection or no TLS: no byte of the request was sent. */
  | "not-connected"
  /** The certificate of the server or of the proxy is not trusted; no byte of the request was sent. */
  | "not-trusted"
  /** The proxy opens no tunnel, and a retry cannot help; no byte of the request was sent. */
  | "proxy-refused"
  /** The connection broke, the answer was late, or its body was cut. */
  | "answer-lost"
  /** 408, or 5xx. */
  | "server-failed"
  /** 429 with an error of the API in it. */
  | "rate-limited"
  /** 429 from a server in front of the API. */
  | "rate-limited-by-edge"
  /** One of `REFUSALS`, with an error of the API in it. */
  | "refused"
  /** A redirect, another content type, an encoded or oversize body, another status: not an answer of this API. */
  | "unusable";

/** The kind of a request. */
export type RequestKind =
  | "read"
  /** PATCH, DELETE, and POST for a guardrail's keys: they name the target state. */
  | "change"
  /** POST /keys: each one that arrives creates a key that costs money, and an attempt cannot be identified. */
  | "creation";

export type RetryDecision =
  | "retry"
  /** Resent; after the last attempt the present state is read. */
  | "retry-then-read"
  /** The same operation again: nothing can exist. */
  | "retry-same"
  /** Never resent as this operation; after a wait, a new operation may follow. */
  | "anew"
  /** Never resent: a key may exist. */
  | "ambiguous"
  /** Never resent: nothing exists. */
  | "refused"
  | "no";

/** **Invariant:** this table alone decides whether a request is resent. */
export const DECISIONS = {
  "not-connected": { read: "retry", change: "retry", creation: "retry-same" },
  "not-trusted": { read: "no", change: "no", creation: "no" },
  "proxy-refused": { read: "no", change: "no", creation: "no" },
  "answer-lost": { read: "retry", change: "retry-then-read", creation: "ambiguous" },
  "server-failed": { read: "retry", change: "retry", creation: "ambiguous" },
  "rate-limited": { read: "retry", change: "retry", creation: "anew" },
  "rate-limited-by-edge": { read: "retry", change: "retry", creation: "ambiguous" },
  refused: { read: "no", change: "no", creation: "refused" },
  unusable: { read: "no", change: "no", creation: "ambiguous" },
} as const satisfies Record<FailureKind, Record<RequestKind, RetryDecision>>;

/** The statuses of a definite refusal. */
export const REFUSALS: ReadonlySet<number> = new Set([400, 401, 402, 403, 404, 409, 413, 422]);

/** The most attempts of one request, however long the budget is. */
export const MAX_ATTEMPTS = 6;
const BASE_MS = 500;
const CAP_MS = 8_000;

export function isRetry(decision: RetryDecision): boolean {
  return decision === "retry" || decision === "retry-then-read" || decision === "retry-same";
}

/**
 * How long to wait after attempt number `attempt` (from 1), in milliseconds: full jitter
 * (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), on top of what the server asked for, so that
 * clients that were refused together do not return together. Undefined if the wait exceeds the budget.
 * @param random a number from 0 to 1
 */
export function waitMs(
  attempt: number,
  floorMs: number,
  remainingMs: number,
  random: () => number,
): number | undefined {
  if (floorMs >= remainingMs) return undefined;
  const wait = floorMs + Math.round(random() * Math.min(CAP_MS, BASE_MS * 2 ** (attempt - 1)));
  return wait < remainingMs ? wait : undefined;
}

const SECONDS = /^\d+(?:\.\d+)?$/;

/** The three forms of https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7, strict enough to tell them from garbage. */
const DATE = /^[A-Z][a-z]{2,8},? [\w -]+ \d{2}:\d{2}:\d{2} (?:GMT|\d{4})$/;

/**
 * How long the server asks to wait, in milliseconds: Retry-After as seconds or as an HTTP date. Undefined without one, and
 * for any other value; 0 for a past date. A huge number is returned as it is and exceeds every budget.
 * @param now the server's time of the answer, as its Date header says, in milliseconds; else ours
 */
export function retryAfterMs(header: string | undefined, now: number): number | undefined {
  const value = header?.trim() ?? "";
  if (SECONDS.test(value)) return Math.ceil(Number(value) * 1000);
  const date = httpDate(value);
  return date === undefined ? undefined : Math.max(0, date - now);
}

/** Milliseconds since 1970; undefined for any other text. */
export function httpDate(header: string | undefined): number | undefined {
  if (header === undefined || !DATE.test(header)) return undefined;
  // All three forms are in UTC, but only two of them say so.
  const milliseconds = Date.parse(header.endsWith(" GMT") ? header : `${header} GMT`);
  return Number.isNaN(milliseconds) ? undefined : milliseconds;
}
