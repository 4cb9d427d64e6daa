import { Pool } from "undici";
import type { Dispatcher } from "undici";
import type { Connections } from "./connections.ts";
import type { NotSent } from "./exchange.ts";
import {
  certificateRemedy,
  networkErrorCode,
  isCertificateError,
  isNetworkError,
  isNoHttp,
  isTimeoutError,
} from "./network-errors.ts";
import type { Proxy } from "./proxy.ts";

/** The proxy opened no tunnel. undici receives this error and passes it on. */
export class ProxyFailure extends Error {
  override readonly name = "ProxyFailure";
  readonly exchange: NotSent;

  constructor(exchange: NotSent) {
    super("the proxy made no tunnel");
    this.exchange = exchange;
  }
}

/** The connections to the proxy, as undici's `ProxyAgent` uses them. A failure on them is a failure of this hop only. */
export class ProxyHop extends Pool {
  readonly #proxy: Proxy;
  readonly #connections: Connections;

  /** @param answerMs how long a proxy may stay silent after it has accepted the connection */
  constructor(proxy: Proxy, connections: Connections, answerMs: number) {
    super(proxy.origin, {
      headersTimeout: answerMs,
      // Named by its own host: `ProxyAgent` sends the server name in TLS even for an IP address, which TLS does not allow.
      connect: (server, callback) => connections.connect({ ...server, servername: "" }, callback),
    });
    this.#proxy = proxy;
    this.#connections = connections;
  }

  /** Rejects with a ProxyFailure; with anything else for a bug. */
  override async connect(options: Omit<Dispatcher.ConnectOptions, "origin">): Promise<Dispatcher.ConnectData> {
    const tunnel = await super.connect(options).catch((thrown: unknown) => {
      if (!(thrown instanceof Error) || !isNetworkError(thrown)) throw thrown;
      throw new ProxyFailure(brokenHop(thrown, this.#proxy));
    });
    if (tunnel.statusCode === 200) {
      this.#connections.keep(tunnel.socket);
      return tunnel;
    }
    tunnel.socket.on("error", () => {}).destroy();
    throw new ProxyFailure(refusedTunnel(tunnel.statusCode, this.#proxy));
  }
}

type Hint = (proxy: Proxy) => string;

const IS_IT_RUNNING: Hint = ({ from }) => `check ${from}, and that the proxy runs; NO_PROXY names hosts that need none`;
const IS_IT_A_PROXY: Hint = ({ from }) => `check ${from}: the host, the port, and whether it is http:// or https://`;
const DOES_IT_WANT_TLS: Hint = ({ from }) =>
  `check that the proxy runs, and whether ${from} should say http:// or https://`;
const CREDENTIALS: Hint = ({ from, name, authorization }) =>
  authorization === undefined
    ? `put the user name and the password into it: ${from}=http://<user>:<password>@${name}`
    : `check the user name and the password in ${from}; special characters are written as %40, %3A, …`;
const PERMISSION: Hint = () => "ask who runs the proxy for a way to OpenRouter; NO_PROXY names hosts that need none";
const PATIENCE: Hint = () => "run the command again; if it stays so, ask who runs the proxy";

/** By the code of the connection. `isFinal` if a retry cannot help. */
const FAILURES: readonly (readonly [code: RegExp, problem: string, hint: Hint, isFinal: boolean])[] = [
  [/^ECONNREFUSED$/, "refused the connection", IS_IT_RUNNING, false],
  [/^(?:ENOTFOUND|EAI_\w+)$/, "is on a host that cannot be found", IS_IT_RUNNING, false],
  [/^(?:ECONNRESET|EPIPE|UND_ERR_SOCKET)$/, "closed the connection", DOES_IT_WANT_TLS, false],
  [/^(?:ERR_SSL_\w+|EPROTO)$/, "cannot be reached over TLS", IS_IT_A_PROXY, true],
];

function brokenHop(error: Error, proxy: Proxy): NotSent {
  if (isTimeoutError(error)) return notSent("does not answer", IS_IT_RUNNING, false, proxy);
  if (isNoHttp(error)) return notSent("does not answer as a proxy does", IS_IT_A_PROXY, true, proxy);
  const code = networkErrorCode(error);
  if (isCertificateError(error)) {
    const problem = `has a certificate that cannot be trusted (${code})`;
    return { ...notSent(problem, () => certificateRemedy(code), true, proxy), event: "not-trusted" };
  }
  const known = FAILURES.find(([pattern]) => pattern.test(code));
  const [, problem, hint, isFinal] = known ?? [null, "cannot be reached", IS_IT_RUNNING, false];
  return notSent(`${problem} (${code})`, hint, isFinal, proxy);
}

/** A proxy that is busy or cannot reach the server right now may recover soon; every other answer is final. */
function refusedTunnel(status: number, proxy: Proxy): NotSent {
  const isTransient = status >= 500 || status === 408 || status === 429;
  const hint = isTransient
    ? PATIENCE
    : ({ 401: CREDENTIALS, 403: PERMISSION, 407: CREDENTIALS }[status] ?? IS_IT_A_PROXY);
  return notSent(`answered ${status}`, hint, !isTransient, proxy);
}

function notSent(problem: string, hint: Hint, isFinal: boolean, proxy: Proxy): NotSent {
  return {
    status: "not-sent",
    event: isFinal ? "proxy-refused" : "not-connected",
    problem: `could not be reached: the proxy ${proxy.name} (from ${proxy.from}) ${problem}`,
    remedy: { hint: hint(proxy), isRequired: isFinal },
  };
}
