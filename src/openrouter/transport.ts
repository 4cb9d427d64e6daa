import { Agent, EnvHttpProxyAgent, Pool } from "undici";
import type { Dispatcher } from "undici";
import { isTimeout } from "../core/budget.ts";
import { KeyctlError } from "../core/errors.ts";
import type { BaseUrl } from "./base-url.ts";
import type { Exchange, Sending, Transport } from "./exchange.ts";
import type { Deadlines } from "./limits.ts";
import { receiving } from "./receiving.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** One HTTP client for OpenRouter. Throws CONFIG_INVALID for a proxy in the environment that cannot be used. */
export function undiciTransport(baseUrl: BaseUrl, environment: Environment, deadlines: Deadlines): Transport {
  const usual = dispatcherTo(baseUrl, environment, deadlines, {});
  // A connection of its own for each: one that was kept may be closed by the other side in the moment that it is used,
  // and a creation that is lost so is a key that must be looked for.
  const creating = dispatcherTo(baseUrl, environment, deadlines, { pipelining: 0 });
  return {
    send: (sending, signal) => {
      const dispatcher = sending.isCreation ? creating : usual;
      return exchange(dispatcher, optionsOf(sending, baseUrl, deadlines), sending, signal);
    },
    close: async () => {
      await Promise.all([usual.destroy(), creating.destroy()]);
    },
  };
}

function dispatcherTo(
  { isLoopback }: BaseUrl,
  environment: Environment,
  { connect: timeout, headers: headersTimeout }: Deadlines,
  options: Agent.Options,
): Dispatcher {
  if (isLoopback) return new Agent({ ...options, connect: { timeout } });
  const { httpProxy, httpsProxy, noProxy } = proxiesIn(environment);
  try {
    return new EnvHttpProxyAgent({
      ...options,
      httpProxy,
      httpsProxy,
      noProxy,
      connect: { timeout },
      proxyTls: { timeout },
      requestTls: { timeout },
      // A proxy that accepts the connection and says nothing.
      clientFactory: (origin, proxyOptions) => new Pool(origin, { ...proxyOptions, headersTimeout }),
    });
  } catch {
    // Its own error repeats the URL, which may hold a password.
    throw new KeyctlError("CONFIG_INVALID", "HTTPS_PROXY or HTTP_PROXY is not the URL of a proxy", {
      hint: "HTTPS_PROXY=http://<host>:<port>",
    });
  }
}

/** Never undefined: undici would then look into the environment of the process itself. */
function proxiesIn(environment: Environment) {
  return {
    httpProxy: environment["http_proxy"] ?? environment["HTTP_PROXY"] ?? "",
    httpsProxy: environment["https_proxy"] ?? environment["HTTPS_PROXY"] ?? "",
    noProxy: environment["no_proxy"] ?? environment["NO_PROXY"] ?? "",
  };
}

function optionsOf(
  { method, path, token, body, isCreation }: Sending,
  { origin, prefix }: BaseUrl,
  deadlines: Deadlines,
): Dispatcher.DispatchOptions {
  return {
    origin,
    path: prefix + path,
    method,
    headers: {
      accept: "application/json",
      // What is not packed cannot unpack to gigabytes.
      "accept-encoding": "identity",
      "user-agent": "keyctl",
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    body: body === undefined ? null : JSON.stringify(body),
    headersTimeout: isCreation ? deadlines.creation : deadlines.headers,
    bodyTimeout: isCreation ? deadlines.creation : deadlines.body,
  };
}

/** Settled once, by whatever comes first: the answer, a failure, the deadline, or the caller. */
function exchange(
  dispatcher: Dispatcher,
  options: Dispatcher.DispatchOptions,
  { maxBytes, deadlineMs, isCreation }: Sending,
  signal: AbortSignal,
): Promise<Exchange> {
  return new Promise((resolve) => {
    const end = (result: Exchange) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      resolve(result);
    };
    const handler = receiving(maxBytes, end);
    const abort = () => {
      if (!isCreation || !handler.isSent()) handler.giveUp("did not answer while it was waited for", isTimeout(signal));
    };
    const timer = setTimeout(() => handler.giveUp("did not answer in time", true), deadlineMs);
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) return abort();
    dispatcher.dispatch(options, handler);
  });
}
