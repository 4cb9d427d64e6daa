import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OPENROUTER, parseBaseUrl } from "../../src/openrouter/http/base-url.ts";

describe("the base URL", () => {
  it("of OpenRouter is one", () => {
    expect(parseBaseUrl(OPENROUTER.href)).toEqual(OPENROUTER);
  });

  it.each([
    ["https://openrouter.example/api/v1/", "https://openrouter.example/api/v1", false],
    ["https://openrouter.example", "https://openrouter.example", false],
    ["https://openrouter.example:8443/a//", "https://openrouter.example:8443/a", false],
    ["HTTPS://OpenRouter.Example/V1", "https://openrouter.example/V1", false],
    ["http://127.0.0.1:8377/api/v1", "http://127.0.0.1:8377/api/v1", true],
    ["http://127.1.2.3", "http://127.1.2.3", true],
    ["http://localhost:80/x", "http://localhost/x", true],
    ["http://[::1]:8377", "http://[::1]:8377", true],
    ["https://localhost/api", "https://localhost/api", true],
  ])("may be %s", (text, href, isLoopback) => {
    const url = parseBaseUrl(text);
    expect(url).toMatchObject({ href, isLoopback });
    expect("problem" in url ? "" : url.origin + url.prefix).toBe(href);
  });

  it.each([
    [""],
    ["openrouter.ai/api/v1"],
    ["ftp://openrouter.ai"],
    ["file:///etc/passwd"],
    ["javascript:alert(1)"],
    ["https:openrouter.ai"],
    ["https:///openrouter.ai"],
    ["https://"],
    ["https://open router.ai"],
    [" https://openrouter.ai"],
    ["https://openrouter.ai\n"],
    ["https://openrouter.ai/\tapi"],
    ["https://openrouter.ai\\@evil.example"],
    ["https://openrouter.ai:99999"],
    ["https://[::1"],
    ["http://openrouter.ai/api/v1"],
    ["http://127.0.0.1.evil.example"],
    ["http://localhost.evil.example"],
    ["http://10.0.0.1"],
    ["http://0.0.0.0"],
    ["https://user@openrouter.ai"],
    ["https://user:pass@openrouter.ai"],
    ["https://@openrouter.ai"],
    ["https://openrouter.ai/?"],
    ["https://openrouter.ai/?key=value"],
    ["https://openrouter.ai/#"],
    ["https://openrouter.ai/#part"],
  ])("may not be %j", (text) => {
    expect(parseBaseUrl(text)).toEqual({ problem: expect.any(String) as string });
  });

  it("is https or on this machine, has no place for a secret, and a problem repeats nothing of it", () => {
    const hosts = fc.oneof(fc.domain(), fc.ipV4(), fc.constantFrom("localhost", "[::1]", "127.0.0.1"));
    const texts = fc.oneof(
      fc.string(),
      fc.webUrl({ withQueryParameters: true, withFragments: true }),
      fc.tuple(fc.constantFrom("http", "https"), hosts, fc.string()).map(([s, host, rest]) => `${s}://${host}${rest}`),
    );
    fc.assert(
      fc.property(texts, (text) => {
        const base = parseBaseUrl(text);
        if ("problem" in base) return text.length < 12 || !base.problem.includes(text);
        const url = new URL(base.href);
        const isLocal = /^(127\.[\d.]+|localhost|\[::1\])$/.test(url.hostname);
        expect([url.username, url.password, url.search, url.hash, base.isLoopback]).toEqual(["", "", "", "", isLocal]);
        return url.protocol === "https:" || isLocal;
      }),
    );
  });
});
