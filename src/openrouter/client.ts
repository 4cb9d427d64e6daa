import { setTimeout as sleep } from "node:timers/promises";
import type { Clock } from "../core/ports.ts";
import type { KeyCheck, OpenRouter, Pause, Reach } from "../core/upstream.ts";
import { answerOf } from "./answer.ts";
import { attempts } from "./attempts.ts";
import type { Ending, Means, Request } from "./attempts.ts";
import type { BaseUrl } from "./base-url.ts";
import type { Transport } from "./exchange.ts";
import { DEADLINES, MAX_REPLY_BYTES } from "./limits.ts";
import type { Deadlines } from "./limits.ts";
import { acceptedKey } from "./replies.ts";
import { proxyFor } from "./proxy.ts";
import type { Environment } from "./proxy.ts";
import { unknown } from "./unknown.ts";
import { upstreamKeys } from "./upstream-keys.ts";

export interface OpenRouterOptions {
  readonly baseUrl: BaseUrl;
  /** For the variables of the proxies. */
  readonly environment: Environment;
  readonly clock: Clock;
  readonly onWait: (pause: Pause) => void;
  /** Called for each request. */
  readonly onSend?: () => void;
  readonly wait?: Means["wait"];
  readonly random?: Means["random"];
  readonly deadlines?: Deadlines;
}

/** Opens nothing and loads no HTTP client until something is asked. Throws CONFIG_INVALID for a proxy that cannot be used. */
export function openRouter(options: OpenRouterOptions): OpenRouter {
  const {
    baseUrl,
    environment,
    clock,
    onWait,
    onSend = () => {},
    wait = sleepUnlessAborted,
    random = Math.random,
    deadlines = DEADLINES,
  } = options;
  const proxy = proxyFor(baseUrl, environment);
  let opened: Promise<Transport> | undefined;
  const transport = () => {
    opened ??= import("./transport.ts").then(({ undiciTransport }) => undiciTransport(baseUrl, proxy, deadlines));
    return opened;
  };
  const means: Means = { transport, clock, wait, random, onWait, onSend, deadlines };
  return {
    async checkKey(key, budget): Promise<KeyCheck> {
      const ending = await attempts(keyInfo(key.reveal()), "read", budget, means);
      if (ending.kind === "failure" && isOfKey(ending)) return { status: "refused", detail: ending.detail };
      return acceptedKey(answerOf(ending)) ?? unknown(ending);
    },
    async reach(budget): Promise<Reach> {
      // The client that is loaded first is no part of the way.
      await transport();
      const began = performance.now();
      const ending = await attempts(keyInfo(null), "read", budget, means, 1);
      const elapsedMs = performance.now() - began;
      // Without a key it is refused: as good an answer as any.
      if (ending.kind === "failure" && ending.event !== "refused") return unknown(ending);
      const serverTime = ending.date === undefined ? undefined : new Date(ending.date);
      return { status: "reached", elapsedMs, serverTime };
    },
    keysUnder: (managementKey) => upstreamKeys(managementKey, means),
    async close() {
      await opened?.then(
        (open) => open.close(),
        () => undefined,
      );
    },
  };
}

function keyInfo(token: string | null): Request {
  return { method: "GET", path: "/key", token, body: undefined, maxBytes: MAX_REPLY_BYTES };
}

/** What is answered when no key arrives: a proxy has taken the header away, which says nothing of the key. */
const NO_KEY_ARRIVED = /: (?:Missing Authentication header|No cookie auth credentials found)/;

/** OpenRouter itself refuses this very key. */
function isOfKey({ event, httpStatus, isOwnError, detail }: Extract<Ending, { kind: "failure" }>): boolean {
  return event === "refused" && httpStatus === 401 && isOwnError && !NO_KEY_ARRIVED.test(detail);
}

async function sleepUnlessAborted(milliseconds: number, signal: AbortSignal): Promise<void> {
  await sleep(milliseconds, undefined, { signal });
}
