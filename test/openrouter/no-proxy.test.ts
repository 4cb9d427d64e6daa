import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isExempt } from "../../src/openrouter/http/no-proxy.ts";

const HOST = { hostname: "api.example.com", port: 443 };

describe("NO_PROXY", () => {
  it.each([
    ["", false],
    ["*", true],
    ["other.com,*", true],
    ["api.example.com", true],
    ["API.Example.COM", true],
    ["api.example.com.", true],
    ["example.com", true],
    [".example.com", true],
    ["*.example.com", true],
    ["com", true],
    ["ample.com", false],
    ["i.example.com", false],
    ["www.api.example.com", false],
    ["a*.example.com", false],
    ["other.com, example.com", true],
    ["other.com example.com", true],
    ["other.com,,\n\texample.com,", true],
    ["example.com:443", true],
    [".example.com:443", true],
    ["example.com:80", false],
    ["example.com:80,example.com", true],
    ["example.com:", false],
    ["example.com/24", false],
    ["https://example.com", false],
    ["me@example.com", false],
    [".", false],
    ["*.", false],
    ["0.0.0.0/0", false],
    ["::/0", false],
  ])("%j exempts api.example.com: %s", (list, expected) => {
    expect(isExempt(HOST, list)).toBe(expected);
  });

  it("covers names with letters of any language, and hosts with a dot at their end", () => {
    const { hostname } = new URL("https://api.bücher.example.");
    expect(isExempt({ hostname, port: 443 }, "BÜCHER.example")).toBe(true);
    expect(isExempt({ hostname, port: 443 }, "xn--bcher-kva.example")).toBe(true);
  });

  it.each([
    ["10.1.2.3", "10.1.2.3", true],
    ["10.1.2.3", "10.1.2.4", false],
    ["10.1.2.3", "10.0.0.0/8", true],
    ["10.1.2.3", "10.9.9.9/8", true],
    ["10.1.2.3", "10.1.2.0/31", false],
    ["10.1.2.3", "10.1.2.2/31", true],
    ["10.1.2.3", "10.1.2.3/32", true],
    ["10.1.2.3", "0.0.0.0/0", true],
    ["10.1.2.3", "10.0.0.0/33", false],
    ["10.1.2.3", "10.0.0.0/", false],
    ["10.1.2.3", "10.0.0.0/8/8", false],
    ["10.1.2.3", "10.0.0.0/-1", false],
    ["10.1.2.3", "10/8", false],
    ["10.1.2.3", "1.2.3", false],
    ["10.1.2.3", ".2.3", false],
    ["10.1.2.3", "10.1.2.3:443", true],
    ["10.1.2.3", "10.1.2.3:80", false],
    ["10.1.2.3", "::ffff:10.1.2.3", true],
    ["10.1.2.3", "::ffff:10.0.0.0/104", true],
    ["10.1.2.3", "fd00::/8", false],
    ["[2001:db8::1]", "2001:db8::1", true],
    ["[2001:db8::1]", "2001:0DB8:0::0001", true],
    ["[2001:db8::1]", "[2001:db8::1]", true],
    ["[2001:db8::1]", "[2001:db8::1]:443", true],
    ["[2001:db8::1]", "[2001:db8::1]:80", false],
    ["[2001:db8::1]", "2001:db8::/32", true],
    ["[2001:db8::1]", "2001:db9::/32", false],
    ["[2001:db8::1]", "2001:db8::/129", false],
    ["[2001:db8::1]", "10.0.0.0/8", false],
    ["[::1]", "::1", true],
    ["[fd12::1]", "fd00::/8", true],
    ["[fe80::1]", "fd00::/8", false],
  ])("exempts %s, by %s: %s", (hostname, list, expected) => {
    expect(isExempt({ hostname, port: 443 }, list)).toBe(expected);
  });

  it("is what one of its entries says, however they are separated, and takes any text", () => {
    const list = fc.array(fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6(), fc.string(), fc.constantFrom("*", "10.0.0.0/8")));
    const target = fc.oneof(
      fc.domain(),
      fc.ipV4(),
      fc.ipV6().map((address) => `[${address}]`),
    );
    fc.assert(
      fc.property(list, target, fc.constantFrom(",", " ", ", ", "\n", " , "), (entries, hostname, separator) => {
        const alone = entries.some((entry) => isExempt({ hostname, port: 443 }, entry));
        expect(isExempt({ hostname, port: 443 }, entries.join(separator))).toBe(alone);
      }),
    );
  });

  it.each([
    ["IPv4", fc.bigInt(0n, 2n ** 32n - 1n), 32, ipV4],
    ["IPv6", fc.bigInt(0n, 2n ** 128n - 1n), 128, ipV6],
  ] as const)(
    "knows the ranges of %s: an address is in one when it begins with the same bits",
    (_, number, size, text) => {
      const cases = fc.tuple(number, number, fc.integer({ min: 0, max: size }), fc.boolean());
      fc.assert(
        fc.property(cases, ([first, other, bits, begins]) => {
          const rest = BigInt(size - bits);
          // Half of them begin with the same bits, or nearly none would be in the range.
          const address = begins ? ((first >> rest) << rest) | (other & ((1n << rest) - 1n)) : other;
          const hostname = size === 32 ? text(address) : `[${text(address)}]`;
          expect(isExempt({ hostname, port: 443 }, `${text(first)}/${bits}`)).toBe(first >> rest === address >> rest);
        }),
      );
    },
  );
});

function ipV4(address: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => (address >> shift) & 255n).join(".");
}

function ipV6(address: bigint): string {
  const groups = Array.from({ length: 8 }, (_, index) => (address >> BigInt(112 - 16 * index)) & 0xffffn);
  return groups.map((group) => group.toString(16)).join(":");
}
