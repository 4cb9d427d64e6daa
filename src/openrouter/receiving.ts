import type { Dispatcher } from "undici";
import type { Exchange } from "./exchange.ts";

export interface Receiving extends Dispatcher.DispatchHandler {
  /** Whether a byte of the request may have left. */
  isSent(): boolean;
  /** Ends it here. `problem` as in `Exchange`. */
  giveUp(problem: string, timedOut: boolean): void;
}

const GIVEN_UP = new Error("given up");
/** https://nodejs.org/api/tls.html#x509-certificate-error-codes */
const CERTIFICATE =
  /^(?:CERT_|UNABLE_TO_|ERR_TLS_CERT_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_)/;
const TIMED_OUT = /^(?:UND_ERR_(?:CONNECT|HEADERS|BODY)_TIMEOUT|ETIMEDOUT)$/;
/** undici's own words for a proxy that makes no tunnel. */
const PROXY_REFUSED = /^Proxy response \((\d{3})\)/;

/**
 * Takes one answer in, up to `maxBytes`, and calls `end` once. undici tells it before it writes the first byte of the
 * request, so what failed before that was certainly not sent.
 */
export function receiving(maxBytes: number, end: (exchange: Exchange) => void): Receiving {
  let controller: Dispatcher.DispatchController | undefined;
  let head: Head | undefined;
  const chunks: Buffer[] = [];
  let bytes = 0;
  let isOver = false;
  const finish = (exchange: Exchange) => {
    if (isOver) return;
    isOver = true;
    end(exchange);
  };
  // Of an error the status says enough, also when an edge packs its page or makes it long.
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
          ? { status: "not-sent", problem: timedOut ? "could not be reached in time" : problem, isCertificate: false }
          : { status: "lost", problem, timedOut },
      );
      controller?.abort(GIVEN_UP);
    },
    onRequestStart(started) {
      // Given up before it was sent, or about to be sent a second time by undici itself.
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
      finish(controller === undefined ? notSent(error) : lost(error));
    },
  };
}

type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

interface Head {
  readonly httpStatus: number;
  readonly headers: Headers;
}

function answered({ httpStatus, headers }: Head, text: string): Exchange {
  return {
    status: "answered",
    httpStatus,
    contentType: first(headers["content-type"]),
    retryAfter: first(headers["retry-after"]),
    date: first(headers["date"]),
    text,
  };
}

const BROKE = "broke the connection off";

function problemOf({ httpStatus, headers }: Head, maxBytes: number): string | undefined {
  if (httpStatus >= 300 && httpStatus < 400) return `answered ${httpStatus}, a redirect, which is not followed`;
  const encoding = first(headers["content-encoding"])?.trim().toLowerCase() ?? "identity";
  if (encoding !== "identity" && encoding !== "") return `answered ${httpStatus} in an encoding that was not asked for`;
  return Number(first(headers["content-length"]) ?? 0) > maxBytes ? tooBig(maxBytes) : undefined;
}

function tooBig(maxBytes: number): string {
  return `sent more than ${maxBytes / 1024} KiB`;
}

/** Of an error only its code is used: its message may hold what was sent, or a proxy's password. */
function notSent(error: Error): Exchange {
  const code = codeOf(error);
  const isCertificate = CERTIFICATE.test(code);
  return { status: "not-sent", problem: whyNotSent(error, code, isCertificate), isCertificate };
}

function whyNotSent(error: Error, code: string, isCertificate: boolean): string {
  if (isCertificate) return `has a certificate that cannot be trusted (${code})`;
  if (TIMED_OUT.test(code)) return "could not be reached in time";
  const proxyStatus = PROXY_REFUSED.exec(error.message)?.[1];
  if (proxyStatus !== undefined) return `could not be reached: the proxy answered ${proxyStatus}`;
  return code === "" ? "could not be reached" : `could not be reached (${code})`;
}

function lost(error: Error): Exchange {
  const timedOut = TIMED_OUT.test(codeOf(error));
  return { status: "lost", problem: timedOut ? "did not answer in time" : BROKE, timedOut };
}

function codeOf(error: Error): string {
  const code = "code" in error ? error.code : undefined;
  return typeof code === "string" && /^[A-Z0-9_]{1,60}$/.test(code) ? code : "";
}

function first(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === "string" ? value : value?.[0];
}
