import { Agent, ProxyAgent } from "undici";
import type { Dispatcher } from "undici";
import { isTimeout } from "../../core/async/deadline.ts";
import type { BaseUrl } from "./base-url.ts";
import { connections } from "./connections.ts";
import type { Connections } from "./connections.ts";
import type { HttpResult, HttpRequest, Transport, Deadlines } from "./exchange.ts";
import { ProxyHop } from "./proxy-hop.ts";
import type { Proxy } from "./proxy.ts";
import { receiving } from "./collect-response.ts";

/** One HTTP client for OpenRouter. */
export function undiciTransport(baseUrl: BaseUrl, proxy: Proxy | undefined, deadlines: Deadlines): Transport {
  const open = connections(deadlines.connect);
  const usual = dispatcherThrough(proxy, open, deadlines, {});
  // Each creation gets a new connection: the other side may close a kept one at the moment it is used, and the key of a
  // creation that is lost in this way must be searched for.
  const creating = dispatcherThrough(proxy, open, deadlines, { pipelining: 0 });
  return {
    send: (request, signal) => {
      const dispatcher = request.isCreation ? creating : usual;
      const options = optionsOf(request, baseUrl, deadlines);
      return exchange({ dispatcher, options, proxy }, request, signal);
    },
    close: async () => {
      await Promise.all([usual.destroy(), creating.destroy()]);
      open.close();
    },
  };
}

function dispatcherThrough(
  proxy: Proxy | undefined,
  open: Connections,
  deadlines: Deadlines,
  options: Pick<Agent.Options, "pipelining">,
): Dispatcher {
  if (proxy === undefined) return new Agent({ ...options, connect: open.connect });
  const { origin: uri, authorization: token } = proxy;
  return new ProxyAgent({
    ...options,
    uri,
    ...(token === undefined ? {} : { token }),
    // For the tunnel, whatever the environment says.
    requestTls: { timeout: deadlines.connect, rejectUnauthorized: true },
    clientFactory: () => new ProxyHop(proxy, open, deadlines.headers),
  });
}

function optionsOf(
  { method, path, token, body, isCreation }: HttpRequest,
  { origin, prefix }: BaseUrl,
  deadlines: Deadlines,
): Dispatcher.DispatchOptions {
  return {
    origin,
    path: prefix + path,
    method,
    headers: {
      accept: "application/json",
      // A body that is not compressed cannot expand to gigabytes.
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

/** How a request goes to the server. */
interface Way {
  readonly dispatcher: Dispatcher;
  readonly options: Dispatcher.DispatchOptions;
  readonly proxy: Proxy | undefined;
}

/** Settles once, by the first of: the answer, a failure, the deadline, the caller. Rejects only for a bug. */
function exchange(
  { dispatcher, options, proxy }: Way,
  { maxBytes, deadlineMs, isCreation }: HttpRequest,
  signal: AbortSignal,
): Promise<HttpResult> {
  return new Promise((resolve, reject) => {
    const stopWaiting = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    };
    const handler = receiving(maxBytes, proxy, {
      end(result) {
        stopWaiting();
        resolve(result);
      },
      fail(bug) {
        stopWaiting();
        reject(bug);
      },
    });
    const abort = () => {
      if (!isCreation || !handler.isSent())
        handler.giveUp("did not answer while it was waited for", isTimeout(signal.reason));
    };
    const timer = setTimeout(() => handler.giveUp("did not answer in time", true), deadlineMs);
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) return abort();
    dispatcher.dispatch(options, handler);
  });
}
