/** What can become of one attempt. */
export type FailureKind =
  /** No name, no connection, no TLS: not a byte of the request was sent. */
  | "not-connected"
  /** The certificate of the server or of the proxy is not to be trusted; not a byte of the request was sent. */
  | "not-trusted"
  /** The proxy makes no tunnel, and will not before somebody changes something; not a byte of the request was sent. */
  | "proxy-refused"
  /** The connection broke, the answer was late, or its body was cut. */
  | "answer-lost"
  /** 408, or 5xx. */
  | "server-failed"
  /** 429 with an error of the API in it. */
  | "rate-limited"
  /** 429 from somebody before the API. */
  | "rate-limited-by-edge"
  /** One of `REFUSALS`, with an error of the API in it. */
  | "refused"
  /** A redirect, another content type, an encoded or too big body, another status: not an answer of this API. */
  | "unusable";

/** What is asked for. */
export type RequestKind =
  | "read"
  /** PATCH and DELETE: they name the state that is wanted. */
  | "change"
  /** POST /keys: every one that arrives makes a key that costs money, and there is no way to name the attempt. */
  | "creation";

export type RetryDecision =
  | "retry"
  /** Sent again at the end of the attempts, as a question: what is there now? */
  | "retry-then-read"
  /** The same operation again: nothing can exist. */
  | "retry-same"
  /** Never again, as this operation; after a wait, as another. */
  | "anew"
  /** Never again: a key may exist. */
  | "ambiguous"
  /** Never again: nothing exists. */
  | "refused"
  | "no";

/** **Invariant:** this table alone decides whether a request is sent again. */
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

/** Statuses with which OpenRouter says no for good. */
export const REFUSALS: ReadonlySet<number> = new Set([400, 401, 402, 403, 404, 409, 413, 422]);

/** How often one thing is asked at most, however long the budget is. */
export const MAX_ATTEMPTS = 6;
const BASE_MS = 500;
const CAP_MS = 8_000;

export function isRetry(decision: RetryDecision): boolean {
  return decision === "retry" || decision === "retry-then-read" || decision === "retry-same";
}

/**
 * How long to wait after attempt number `attempt` (from 1), in milliseconds: full jitter
 * (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), on top of what the server asked for, so
 * that those who were turned away together do not come back together. Undefined when the budget does not hold it.
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

/** The three forms of https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7, as far as they need to be told from garbage. */
const DATE = /^[A-Z][a-z]{2,8},? [\w -]+ \d{2}:\d{2}:\d{2} (?:GMT|\d{4})$/;

/**
 * How long the server wants us to wait, in milliseconds: Retry-After as seconds or as an HTTP date. Undefined for none,
 * and for what is neither; 0 for a date that is past; a huge number is what it is, and no budget holds it.
 * @param now the server's time of the answer, as its Date header says, in milliseconds; else ours
 */
export function retryAfterMs(header: string | undefined, now: number): number | undefined {
  const value = header?.trim() ?? "";
  if (SECONDS.test(value)) return Math.ceil(Number(value) * 1000);
  const date = httpDate(value);
  return date === undefined ? undefined : Math.max(0, date - now);
}

/** Milliseconds since 1970; undefined for what is no HTTP date. */
export function httpDate(header: string | undefined): number | undefined {
  if (header === undefined || !DATE.test(header)) return undefined;
  // All three forms are in UTC; only two of them say so.
  const milliseconds = Date.parse(header.endsWith(" GMT") ? header : `${header} GMT`);
  return Number.isNaN(milliseconds) ? undefined : milliseconds;
}
