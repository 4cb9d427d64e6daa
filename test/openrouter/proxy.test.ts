import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { OPENROUTER, parseBaseUrl } from "../../src/openrouter/http/base-url.ts";
import { openRouterAt } from "../../src/openrouter/configured.ts";
import { proxyFor } from "../../src/openrouter/http/proxy.ts";

const PROXY = "http://p:3128";

describe("the proxy on the way to OpenRouter", () => {
  it.each([
    [{}, undefined],
    [{ HTTPS_PROXY: "" }, undefined],
    [{ HTTPS_PROXY: PROXY }, "HTTPS_PROXY"],
    [{ https_proxy: PROXY, HTTPS_PROXY: "http://other" }, "https_proxy"],
    [{ https_proxy: "", HTTPS_PROXY: PROXY }, "HTTPS_PROXY"],
    [{ https_proxy: " \n", HTTPS_PROXY: PROXY }, "HTTPS_PROXY"],
    [{ HTTP_PROXY: PROXY, HTTPS_PROXY: "" }, "HTTP_PROXY"],
    [{ http_proxy: "", HTTP_PROXY: PROXY }, "HTTP_PROXY"],
    [{ HTTP_PROXY: "http://other", HTTPS_PROXY: PROXY }, "HTTPS_PROXY"],
    [{ ALL_PROXY: PROXY }, "ALL_PROXY"],
    [{ all_proxy: "", ALL_PROXY: PROXY }, "ALL_PROXY"],
    [{ ALL_PROXY: "socks5://other", HTTP_PROXY: PROXY }, "HTTP_PROXY"],
    [{ HTTPS_PROXY: PROXY, NO_PROXY: "openrouter.ai" }, undefined],
    [{ HTTPS_PROXY: PROXY, NO_PROXY: "openrouter.ai:443" }, undefined],
    [{ HTTPS_PROXY: PROXY, NO_PROXY: "openrouter.ai:80" }, "HTTPS_PROXY"],
    [{ HTTPS_PROXY: PROXY, no_proxy: "", NO_PROXY: "openrouter.ai" }, undefined],
    [{ HTTPS_PROXY: PROXY, no_proxy: "other", NO_PROXY: "openrouter.ai" }, "HTTPS_PROXY"],
    [{ HTTPS_PROXY: "socks5://other", NO_PROXY: "*" }, undefined],
  ])("with %j is named by %s", (environment, from) => {
    const proxy = proxyFor(OPENROUTER, environment);
    expect(proxy?.from).toBe(from);
    if (from !== undefined) expect(proxy).toMatchObject({ origin: PROXY, name: "p:3128", authorization: undefined });
  });

  it.each([
    ["http://p:3128/", "http://p:3128", "p:3128", undefined],
    ["p:3128", "http://p:3128", "p:3128", undefined],
    ["10.0.0.1:3128", "http://10.0.0.1:3128", "10.0.0.1:3128", undefined],
    ["HTTP://P.Example", "http://p.example", "p.example:80", undefined],
    ["https://p", "https://p", "p:443", undefined],
    ["http://[2001:DB8::1]:3128", "http://[2001:db8::1]:3128", "[2001:db8::1]:3128", undefined],
    ["http://[::1]", "http://[::1]", "[::1]:80", undefined],
    ["http://me:secret@p:1", "http://p:1", "p:1", "me:secret"],
    ["me:secret@p:1", "http://p:1", "p:1", "me:secret"],
    ["http://me@p:1", "http://p:1", "p:1", "me:"],
    ["http://:secret@p:1", "http://p:1", "p:1", ":secret"],
    ["http://d%5Cme:p%40ss%3A%2F%C3%A9%25@p:1", "http://p:1", "p:1", "d\\me:p@ss:/é%"],
  ])("is read from %s", (url, origin, name, credentials) => {
    const authorization =
      credentials === undefined ? undefined : `Basic ${Buffer.from(credentials, "utf8").toString("base64")}`;
    expect(proxyFor(OPENROUTER, { HTTPS_PROXY: url })).toEqual({ origin, name, authorization, from: "HTTPS_PROXY" });
  });

  it.each(["socks", "socks4", "socks4a", "socks5", "socks5h", "SOCKS5"])(
    "by %s:// is refused in one line",
    (scheme) => {
      for (const from of ["HTTPS_PROXY", "all_proxy"]) {
        const error = refusalOf({ [from]: `${scheme}://me:pa55word@p:1080` });
        expect(error).toMatchObject({
          code: "CONFIG_INVALID",
          message: `${from} names a SOCKS proxy; keyctl uses http and https proxies only`,
          hint: `${from}=http://<host>:<port>, or NO_PROXY=openrouter.ai to use none`,
          retryable: false,
        });
        expect(inspect(error, { depth: null, showHidden: true })).not.toContain("pa55word");
      }
    },
  );

  it.each([
    "ftp://me:pa55word@p",
    "127.0.0.1:3128 with a pa55word",
    "http://me:pa55word@[",
    "http://me:%pa55word@p",
    "http://me:%c3%28pa55word@p",
    "http://me:pa55word@p:99999",
    "http://me:55/pa55word@p:3128",
    "http://me:55?pa55word@p:3128",
    "http://me:55#pa55word@p:3128",
    "http://me:55\\pa55word@p:3128",
    "me:55/pa55word@p:3128",
    "http://p:3128/proxy.pac",
    "http://me:pa55\nword@p",
    "http://pa55word\u0000@p",
    "file:///pa55word",
    "http://",
    "://pa55word",
  ])("that is %j is a mistake in the configuration, and not repeated", (url) => {
    const error = refusalOf({ HTTPS_PROXY: url });
    expect(error).toMatchObject({
      code: "CONFIG_INVALID",
      message: "HTTPS_PROXY is not the URL of an http or https proxy",
    });
    expect(inspect(error, { depth: null, showHidden: true })).not.toMatch(/pa55|word@/);
  });

  it("is not looked at for this very machine", () => {
    const loopback = parseBaseUrl("https://127.0.0.1:8443/api/v1");
    if ("problem" in loopback) throw new Error(loopback.problem);
    expect(proxyFor(loopback, { HTTPS_PROXY: "socks5://p" })).toBeUndefined();
  });

  it("is refused before anything is asked, so that no operation is begun", () => {
    const options = { environment: { HTTPS_PROXY: "socks5://p" }, clock: { now: () => new Date() }, onWait: () => {} };
    expect(() => openRouterAt(undefined, options)).toThrow("HTTPS_PROXY names a SOCKS proxy");
  });
});

function refusalOf(environment: Readonly<Record<string, string>>): unknown {
  try {
    return proxyFor(OPENROUTER, environment);
  } catch (thrown) {
    return thrown;
  }
}
