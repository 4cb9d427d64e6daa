import type { Dispatcher } from "undici";
import type { HttpResult, NotSent } from "./exchange.ts";
import {
  certificateRemedy,
  networkErrorCode,
  isCertificateError,
  isNetworkError,
  isTimeoutError,
} from "./network-errors.ts";
import { ProxyFailure } from "./proxy-hop.ts";
import type { Proxy } from "./proxy.ts";

export interface Receiving extends Dispatcher.DispatchHandler {
  /** Whether a byte of the request may have left. */
  isSent(): boolean;
  /** Ends the exchange. `problem` as in `HttpResult`. */
  giveUp(problem: string, timedOut: boolean): void;
}

const GIVEN_UP = new Error("given up");

/** Receives the end of an exchange, once. */
export interface Ends {
  readonly end: (exchange: HttpResult) => void;
  /** For an error that the network cannot cause. */
  readonly fail: (bug: Error) => void;
}

/**
 * Reads one answer, up to `maxBytes`. undici calls `onRequestStart` before it writes the first byte of the request, so a
 * request that failed before that was certainly not sent.
 */
export function receiving(maxBytes: number, proxy: Proxy | undefined, { end, fail }: Ends): Receiving {
  let controller: Dispatcher.DispatchController | undefined;
  let head: Head | undefined;
  const chunks: Buffer[] = [];
  let bytes = 0;
  let isOver = false;
  const finish = (exchange: HttpResult) => {
    if (isOver) return;
    isOver = true;
    end(exchange);
  };
  // For an error, the status is enough, even if an edge server compresses its page or makes it long.
  const refuse = (refused: Head, problem: string) => {
    const { httpStatus } = refused;
    finish(httpStatus >= 400 ? answered(refused, "") : { status: "unreadable", httpStatus, problem });
    controller?.abort(GIVEN_UP);
  };
  return {
    isSent: () => controller !== undefined,
    giveUp(problem, timedOut) {
      finish(
        controller === undefined
          ? notSent(timedOut ? `${unreached(proxy)} in time` : problem)
          : { status: "lost", problem, timedOut },
      );
      controller?.abort(GIVEN_UP);
    },
    onRequestStart(started) {
      // Cancelled before it was sent, or about to be resent by undici itself.
      if (isOver || controller !== undefined) started.abort(GIVEN_UP);
      controller ??= started;
    },
    onResponseStart(_controller, httpStatus, headers) {
      if (httpStatus < 200) return;
      head = { httpStatus, headers };
      const problem = problemOf(head, maxBytes);
      if (problem !== undefined) refuse(head, problem);
    },
    onResponseData(_controller, chunk) {
      bytes += chunk.length;
      if (bytes <= maxBytes) chunks.push(chunk);
      else if (head !== undefined) refuse(head, tooBig(maxBytes));
    },
    onResponseEnd() {
      if (head === undefined) finish({ status: "lost", problem: BROKE, timedOut: false });
      else finish(answered(head, Buffer.concat(chunks).toString("utf8")));
    },
    onResponseError(_controller, error) {
      const isOfTheNetwork = error === GIVEN_UP || error instanceof ProxyFailure || isNetworkError(error);
      if (isOfTheNetwork) finish(controller === undefined ? whyNotSent(error, proxy) : lost(error));
      else fail(error);
    },
  };
}

type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

interface Head {
  readonly httpStatus: number;
  readonly headers: Headers;
}

function answered({ httpStatus, headers }: Head, text: string): HttpResult {
  return {
    status: "answered",
    httpStatus,
    contentType: first(headers["content-type"]),
    retryAfter: first(headers["retry-after"]),
    date: first(headers["date"]),
    text,
  };
}

const BROKE = "closed the connection early";

function problemOf({ httpStatus, headers }: Head, maxBytes: number): string | undefined {
  if (httpStatus >= 300 && httpStatus < 400) return `answered ${httpStatus}, a redirect, which is not followed`;
  const encoding = first(headers["content-encoding"])?.trim().toLowerCase() ?? "identity";
  if (encoding !== "identity" && encoding !== "") return `answered ${httpStatus} in an encoding that was not asked for`;
  return Number(first(headers["content-length"]) ?? 0) > maxBytes ? tooBig(maxBytes) : undefined;
}

function tooBig(maxBytes: number): string {
  return `sent more than ${maxBytes / 1024} KiB`;
}

function whyNotSent(error: Error, proxy: Proxy | undefined): NotSent {
  if (error instanceof ProxyFailure) return error.exchange;
  if (isTimeoutError(error)) return notSent(`${unreached(proxy)} in time`);
  const code = networkErrorCode(error);
  if (!isCertificateError(error)) return notSent(`${unreached(proxy)} (${code})`);
  const remedy = { hint: certificateRemedy(code), isRequired: true };
  const problem = `has a certificate that cannot be trusted (${code})`;
  return { status: "not-sent", event: "not-trusted", problem, remedy };
}

function notSent(problem: string): NotSent {
  return { status: "not-sent", event: "not-connected", problem, remedy: undefined };
}

function unreached(proxy: Proxy | undefined): string {
  return proxy === undefined
    ? "could not be reached"
    : `could not be reached through the proxy ${proxy.name} (from ${proxy.from})`;
}

function lost(error: Error): HttpResult {
  const timedOut = isTimeoutError(error);
  return { status: "lost", problem: timedOut ? "did not answer in time" : BROKE, timedOut };
}

function first(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === "string" ? value : value?.[0];
}
