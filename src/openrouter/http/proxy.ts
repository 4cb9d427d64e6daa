import { KeyctlError } from "../../core/model/errors.ts";
import type { BaseUrl } from "./base-url.ts";
import { isExempt } from "./no-proxy.ts";

export type ProxyEnvironment = Readonly<Record<string, string | undefined>>;

/** The proxy between this machine and OpenRouter. */
export interface Proxy {
  /** Without user name and password. */
  readonly origin: string;
  /** The value of `Proxy-Authorization`; undefined if the variable holds no credentials. */
  readonly authorization: string | undefined;
  /** `<host>:<port>`, safe to show. */
  readonly name: string;
  /** The variable that names it. */
  readonly from: string;
}

/** The first variable with a value counts. undici falls back from HTTPS_PROXY to HTTP_PROXY, curl to ALL_PROXY. */
const VARIABLES = ["https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
const EXEMPTIONS = ["no_proxy", "NO_PROXY"];
const SCHEME = /^[a-z][a-z\d+.-]*:\/\//i;
/** A URL parser silently drops or encodes white space and control characters. */
const URL_OF_A_PROXY = /^https?:\/\/[^/?#\\\s\p{Cc}]+\/?$/iu;
const SOCKS = /^socks(?:4a?|5h?)?:\/\//i;

/**
 * The proxy that the environment names for this server; undefined for none, for this very machine, and where NO_PROXY
 * exempts the server. Throws CONFIG_INVALID for one that cannot be used, and repeats nothing of its value.
 */
export function proxyFor({ origin, isLoopback }: BaseUrl, environment: ProxyEnvironment): Proxy | undefined {
  const from = VARIABLES.find((name) => valueOf(environment, name) !== "");
  if (isLoopback || from === undefined) return undefined;
  const { hostname, port } = new URL(origin);
  const exemptions = EXEMPTIONS.map((name) => valueOf(environment, name)).find((value) => value !== "") ?? "";
  if (isExempt({ hostname, port: Number(port || 443) }, exemptions)) return undefined;
  return parsed(valueOf(environment, from), from, hostname);
}

/** Set but empty counts as unset. */
function valueOf(environment: ProxyEnvironment, name: string): string {
  return environment[name]?.trim() ?? "";
}

/** Strict: after an unescaped character of a password, the rest of it would pass as a host and be shown. */
function parsed(value: string, from: string, server: string): Proxy {
  if (SOCKS.test(value)) throw unusable(`${from} names a SOCKS proxy; keyctl uses http and https proxies only`);
  const text = SCHEME.test(value) ? value : `http://${value}`;
  const url = URL_OF_A_PROXY.test(text) && URL.canParse(text) ? new URL(text) : undefined;
  const credentials = url === undefined ? undefined : credentialsOf(url);
  if (url === undefined || credentials === undefined) {
    throw unusable(`${from} is not the URL of an http or https proxy`);
  }
  return {
    origin: url.origin,
    authorization: credentials === ":" ? undefined : `Basic ${Buffer.from(credentials).toString("base64")}`,
    name: url.port === "" ? `${url.host}:${url.protocol === "https:" ? 443 : 80}` : url.host,
    from,
  };

  function unusable(message: string): KeyctlError {
    return new KeyctlError("CONFIG_INVALID", message, {
      hint: `${from}=http://<host>:<port>, or NO_PROXY=${server} to use none`,
    });
  }
}

/** Undefined if they are not percent-encoded correctly. */
function credentialsOf({ username, password }: URL): string | undefined {
  try {
    return `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  } catch {
    return undefined;
  }
}
