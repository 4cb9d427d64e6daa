import type { FailureKind } from "./retry-policy.ts";
import { REFUSALS, httpDate, retryAfterMs } from "./retry-policy.ts";
import { errorCode, errorMessage } from "../replies.ts";
import { remedyOfUnread, reportOf } from "./answer-remedies.ts";
import type { Remedy } from "../../core/model/unknown-reason.ts";

/** One request, sent once. */
export interface HttpRequest {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  /** Appended to the base URL's path, with its query. */
  readonly path: string;
  /** The token after `Bearer`; null sends no credential. */
  readonly token: string | null;
  readonly body: unknown;
  readonly maxBytes: number;
  /** For the whole exchange, from the DNS look-up to the last byte of the answer. */
  readonly deadlineMs: number;
  /** True: once the request is sent, only its deadline ends the wait. */
  readonly isCreation: boolean;
}

/** The result of an exchange. A `problem` completes a sentence that begins with `OpenRouter`. */
export type HttpResult =
  | NotSent
  /** Sent, without a complete answer. */
  | { readonly status: "lost"; readonly problem: string; readonly timedOut: boolean }
  /** Cancelled while the answer arrived. */
  | { readonly status: "unreadable"; readonly httpStatus: number; readonly problem: string }
  | Answer;

export interface NotSent {
  readonly status: "not-sent";
  readonly event: Extract<FailureKind, "not-connected" | "not-trusted" | "proxy-refused">;
  readonly problem: string;
  readonly remedy: Remedy | undefined;
}

interface Answer {
  readonly status: "answered";
  readonly httpStatus: number;
  readonly contentType: string | undefined;
  readonly retryAfter: string | undefined;
  readonly date: string | undefined;
  readonly text: string;
}

export interface Transport {
  /** Rejects only for a bug, never for a network failure. An aborted signal ends it early, as `not-sent` or `lost`. */
  send(sending: HttpRequest, signal: AbortSignal): Promise<HttpResult>;
  close(): Promise<void>;
}

/** The outcome of an exchange as the retry table knows it, or a JSON reply. */
export type Judged = Reply | Failure;

export interface Reply {
  readonly kind: "reply";
  readonly httpStatus: number;
  readonly json: unknown;
  /** By the server's clock, in milliseconds. */
  readonly date: number | undefined;
}

export interface Failure {
  readonly kind: "failure";
  readonly event: FailureKind;
  readonly httpStatus: number | null;
  readonly date: number | undefined;
  readonly timedOut: boolean;
  readonly detail: string;
  readonly retryAfterMs: number | undefined;
  readonly remedy: Remedy | undefined;
  /** The body is OpenRouter's own error with this status, unlike a gateway's answer. */
  readonly isOwnError: boolean;
}

const JSON_TYPE = /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i;

/** @param now our clock, in milliseconds, for a server that sends no Date header */
export function classifyResponse(exchange: HttpResult, token: string | null, now: number): Judged {
  if (exchange.status === "not-sent") {
    return { ...failure(exchange.event, null, exchange.problem), remedy: exchange.remedy };
  }
  if (exchange.status === "lost")
    return { ...failure("answer-lost", null, exchange.problem), timedOut: exchange.timedOut };
  if (exchange.status === "unreadable") {
    const { httpStatus, problem } = exchange;
    return { ...failure("unusable", httpStatus, problem), remedy: remedyOfUnread(httpStatus) };
  }
  return judgeAnswer(exchange, token, now);
}

function judgeAnswer(answer: Answer, token: string | null, now: number): Judged {
  const { httpStatus, contentType = "" } = answer;
  const json = JSON_TYPE.test(contentType) ? parseJson(answer.text) : NOT_JSON;
  if (httpStatus < 200 || httpStatus >= 300) return judgeRefusal(answer, json, token, now);
  if (!JSON_TYPE.test(contentType)) {
    const { addition, remedy } = reportOf({ httpStatus, contentType, isFromTheApi: false, retryAfterMs: undefined });
    return { ...failure("unusable", httpStatus, `answered ${httpStatus}${addition || " without JSON"}`), remedy };
  }
  // A body that ends with its connection may have been cut off.
  if (json === NOT_JSON) return failure("answer-lost", httpStatus, "sent an answer that breaks off");
  return { kind: "reply", httpStatus, json, date: httpDate(answer.date) };
}

function judgeRefusal(answer: Answer, json: unknown, token: string | null, now: number): Failure {
  const { httpStatus, contentType = "" } = answer;
  const message = errorMessage(json, token);
  const date = httpDate(answer.date);
  const event = eventOf(httpStatus, message !== undefined);
  const said = message === undefined || message === "" ? "" : `: ${message}`;
  const wait = retryAfterMs(answer.retryAfter, date ?? now);
  const isFromTheApi = message !== undefined;
  const { addition, remedy } = reportOf({ httpStatus, contentType, isFromTheApi, retryAfterMs: wait });
  return {
    ...failure(event, httpStatus, `answered ${httpStatus}${said}${addition}`),
    date,
    remedy,
    isOwnError: errorCode(json) === httpStatus,
    retryAfterMs: wait,
  };
}

function eventOf(httpStatus: number, isFromTheApi: boolean): FailureKind {
  if (httpStatus === 429) return isFromTheApi ? "rate-limited" : "rate-limited-by-edge";
  if (httpStatus === 408 || httpStatus >= 500) return "server-failed";
  return isFromTheApi && REFUSALS.has(httpStatus) ? "refused" : "unusable";
}

function failure(event: FailureKind, httpStatus: number | null, detail: string): Failure {
  return {
    kind: "failure",
    event,
    httpStatus,
    date: undefined,
    timedOut: false,
    detail,
    retryAfterMs: undefined,
    remedy: undefined,
    isOwnError: false,
  };
}

const NOT_JSON = Symbol("not JSON");

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return NOT_JSON;
  }
}

/** The most that is read of an answer; the rest is never fetched. */
export const MAX_REPLY_BYTES = 64 * 1024;

/** For one page of a list. */
export const MAX_PAGE_BYTES = 1024 * 1024;

/** The time limits of one attempt, in milliseconds. */
export interface Deadlines {
  readonly connect: number;
  readonly headers: number;
  /** Between two chunks of a body. */
  readonly body: number;
  /** For the whole attempt. */
  readonly attempt: number;
  /** For a whole creation, and each of its parts except the connection: a late key is better than one that must be searched for. */
  readonly creation: number;
}

export const DEADLINES: Deadlines = {
  connect: 5_000,
  headers: 10_000,
  body: 5_000,
  attempt: 15_000,
  creation: 20_000,
};
