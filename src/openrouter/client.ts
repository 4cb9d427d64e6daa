import type { Clock } from "../core/ports/stores-and-sources.ts";
import type { KeyCheck, OpenRouter, RetryPause, Reach } from "../core/ports/openrouter.ts";
import { answerOf } from "./http/answer.ts";
import { sendWithRetries, unknown } from "./http/send-with-retries.ts";
import type { RequestOutcome, HttpContext, Request } from "./http/send-with-retries.ts";
import type { BaseUrl } from "./http/base-url.ts";
import type { Transport, Deadlines } from "./http/exchange.ts";
import { acceptedKey } from "./replies.ts";
import { proxyFor } from "./http/proxy.ts";
import type { ProxyEnvironment } from "./http/proxy.ts";
import { managementApi } from "./upstream-keys.ts";
import { DEADLINES, MAX_REPLY_BYTES } from "./http/exchange.ts";
import { sleep } from "../core/async/sleep.ts";

export interface OpenRouterOptions {
  readonly baseUrl: BaseUrl;
  /** Holds the proxy variables. */
  readonly environment: ProxyEnvironment;
  readonly clock: Clock;
  readonly onWait: (pause: RetryPause) => void;
  /** Called for each request. */
  readonly onSend?: () => void;
  readonly wait?: HttpContext["wait"];
  readonly random?: HttpContext["random"];
  readonly deadlines?: Deadlines;
}

/** Opens nothing and loads no HTTP client before the first request. Throws CONFIG_INVALID for a proxy that cannot be used. */
export function openRouter(options: OpenRouterOptions): OpenRouter {
  const {
    baseUrl,
    environment,
    clock,
    onWait,
    onSend = () => {},
    wait = sleep,
    random = Math.random,
    deadlines = DEADLINES,
  } = options;
  const proxy = proxyFor(baseUrl, environment);
  let opened: Promise<Transport> | undefined;
  const transport = () => {
    opened ??= import("./http/transport.ts").then(({ undiciTransport }) => undiciTransport(baseUrl, proxy, deadlines));
    return opened;
  };
  /** By the clock of this process that nobody sets: how far its zero is from 1970. */
  let serverOffsetMs: number | undefined;
  const onServerTime = (time: number) => {
    serverOffsetMs = time - performance.now();
  };
  const context: HttpContext = { transport, clock, wait, random, onWait, onSend, onServerTime, deadlines };
  return {
    serverTime: () => (serverOffsetMs === undefined ? undefined : serverOffsetMs + performance.now()),
    async checkKey(key, budget): Promise<KeyCheck> {
      const ending = await sendWithRetries(keyInfo(key.reveal()), budget, context);
      if (ending.kind === "failure" && isOfKey(ending)) return { status: "refused", detail: ending.detail };
      return acceptedKey(answerOf(ending)) ?? unknown(ending);
    },
    async reach(budget): Promise<Reach> {
      // Loading the client first keeps it out of the measured time.
      await transport();
      const began = performance.now();
      const ending = await sendWithRetries(keyInfo(null), budget, context, 1);
      const elapsedMs = performance.now() - began;
      // Without a key the request is refused, which is an answer too.
      if (ending.kind === "failure" && ending.event !== "refused") return unknown(ending);
      const serverTime = ending.date === undefined ? undefined : new Date(ending.date);
      return { status: "reached", elapsedMs, serverTime };
    },
    withManagementKey: (managementKey) => managementApi(managementKey, context),
    async close() {
      await opened?.then(
        (open) => open.close(),
        () => undefined,
      );
    },
  };
}

function keyInfo(token: string | null): Request {
  return { kind: "read", method: "GET", path: "/key", token, body: undefined, maxBytes: MAX_REPLY_BYTES };
}

/** The answers to a request without a key: a proxy has removed the header, which says nothing about the key. */
const NO_KEY_ARRIVED = /: (?:Missing Authentication header|No cookie auth credentials found)/;

/** OpenRouter itself refuses this key. */
function isOfKey({ event, httpStatus, isOwnError, detail }: Extract<RequestOutcome, { kind: "failure" }>): boolean {
  return event === "refused" && httpStatus === 401 && isOwnError && !NO_KEY_ARRIVED.test(detail);
}
