import { createHash } from "node:crypto";
import { format, inspect } from "node:util";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ApiKey } from "../../../src/core/model/api-key.ts";

const TEXT = `sk-or-v1-${"0".repeat(60)}b465`;
const MASK = "***************b465";

const keyText = fc
  .string({ unit: oneOf("ABCXYZabcxyz0189_-"), minLength: 8, maxLength: 200 })
  .map((characters) => `sk-or-v1-${characters}`);
const padding = fc.string({
  unit: oneOf(" \t\r\n\v\f\u0085\u00A0\u1680\u2007\u200B\u200C\u200D\u200E\u2028\u2060\u3000\uFEFF"),
});

function oneOf(characters: string): fc.Arbitrary<string> {
  return fc.constantFrom(...Array.from(characters));
}

function parsed(text: string): ApiKey {
  const key = ApiKey.parse(text);
  if (key === undefined) throw new Error("the test's key is not well formed");
  return key;
}

describe("ApiKey.parse", () => {
  it("gives back the key without the blanks and invisible characters around it", () => {
    fc.assert(
      fc.property(padding, keyText, padding, (before, text, after) => {
        expect(parsed(before + text + after).reveal()).toBe(text);
      }),
    );
  });

  it("refuses a key with any other character in it", () => {
    const foreign = fc.string({ unit: "binary", minLength: 1, maxLength: 1 }).filter((text) => !/^[\w-]$/.test(text));
    fc.assert(
      fc.property(keyText, foreign, fc.nat(), (text, other, position) => {
        const at = 1 + (position % (text.length - 1));
        expect(ApiKey.parse(text.slice(0, at) + other + text.slice(at))).toBeUndefined();
      }),
    );
  });

  it.each([
    ["7 characters behind the prefix", `sk-or-v1-${"a".repeat(7)}`],
    ["201 characters behind the prefix", `sk-or-v1-${"a".repeat(201)}`],
    ["a second line", `${TEXT}\nX-Evil: 1`],
    ["a second key", `${TEXT} ${TEXT}`],
    ["nothing", ""],
    ["a mask", MASK],
    ["a million blanks before a word", `${" ".repeat(1_000_000)}x`],
    ["a million blanks behind a key and a word", `${TEXT}${" ".repeat(1_000_000)}x`],
  ])("refuses %s", (_name, text) => {
    expect(ApiKey.parse(text)).toBeUndefined();
  });

  it.each([
    ["8", `sk-or-v1-${"a".repeat(8)}`],
    ["200", `sk-or-v1-${"a".repeat(200)}`],
  ])("takes %s characters behind the prefix", (_count, text) => {
    expect(parsed(text).reveal()).toBe(text);
  });
});

describe("what may be shown of an ApiKey", () => {
  it("is a mask of fifteen stars and the last four characters, whatever the length", () => {
    fc.assert(
      fc.property(keyText, (text) => {
        expect(parsed(text).masked).toBe("*".repeat(15) + text.slice(-4));
        expect(parsed(text).tail).toBe(text.slice(-4));
      }),
    );
  });

  it("is the SHA-256 of the bare key in lowercase hex, as OpenRouter calls it", () => {
    expect(parsed(` ${TEXT}\n`).hash).toBe(createHash("sha256").update(TEXT).digest("hex"));
  });

  it.each([
    [TEXT, true],
    ["sk-or-v1-test-key", false],
    [TEXT.replace("b465", "B465"), false],
    [`${TEXT}0`, false],
  ])("tells the shape that OpenRouter makes from others: %s", (text, usual) => {
    expect(parsed(text).hasUsualShape).toBe(usual);
  });

  it("knows an equal key", () => {
    expect(parsed(TEXT).equals(parsed(`${TEXT}\n`))).toBe(true);
    expect(parsed(TEXT).equals(parsed(`${TEXT}0`))).toBe(false);
  });
});

describe("ApiKey.isMask", () => {
  it.each([
    [MASK, true],
    [` ${MASK}\n`, true],
    ["****", true],
    ["***************", true],
    [TEXT, false],
    ["***", false],
    ["", false],
    ["***************b465x", false],
  ])("of '%s' is %s", (text, expected) => {
    expect(ApiKey.isMask(text)).toBe(expected);
  });
});

describe("a key that is turned into text by accident", () => {
  const key = parsed(TEXT);
  // What a program in JavaScript may do with it; the types forbid it.
  const loose: any = key;

  it.each<readonly [string, () => unknown]>([
    ["a template", () => `Bearer ${loose}`],
    ["concatenation", () => "" + loose],
    ["concatenation from the left", () => loose + ""],
    ["String()", () => String(loose)],
    ["Number()", () => Number(loose)],
    ["unary plus", () => +loose],
    ["an array's join", () => [loose].join()],
    ["a property name", () => ({ [loose]: 1 })],
    ["a header", () => new Headers({ authorization: loose })],
    ["an address", () => new URL(loose)],
    ["a query", () => new URLSearchParams({ key: loose })],
    ["encodeURIComponent", () => encodeURIComponent(loose)],
    ["comparison with a text", () => loose == TEXT],
    ["%s of util.format", () => format("%s", loose)],
  ])("throws in %s, and says what to write", (_name, act) => {
    expect(act).toThrow(TypeError);
    expect(act).toThrow(/\.masked.*\.reveal\(\)/);
    expect(act).not.toThrow(/b465/);
  });

  it.each<readonly [string, () => string]>([
    ["toString", () => key.toString()],
    ["JSON", () => JSON.parse(JSON.stringify(key))],
    ["JSON of what holds it", () => JSON.parse(JSON.stringify({ a: [key] })).a[0]],
  ])("is the mask in %s", (_name, show) => {
    expect(show()).toBe(MASK);
  });
});

describe("the bare key never comes out", () => {
  const key = parsed(TEXT);
  void key.hash; // Nor does what it remembers give it away.
  const holder = { name: "alice", keys: [key], byKey: new Map([[key, key]]), set: new Set([key]) };
  const error = Object.assign(new Error("failed", { cause: key }), { key });

  it.each<readonly [string, () => string]>([
    ["inspect", () => inspect(key)],
    ["inspect with everything on", () => inspect(key, { showHidden: true, depth: null, getters: true, colors: true })],
    [
      "inspect that passes by our own method",
      () => inspect(key, { customInspect: false, showHidden: true, depth: null }),
    ],
    ["inspect with getters that passes by our own method", () => inspect(key, { customInspect: false, getters: true })],
    ["inspect of what holds it", () => inspect(holder, { showHidden: true, depth: null })],
    ["inspect at depth 0", () => inspect({ a: { b: { key } } }, { depth: 0 })],
    ["inspect of a proxy", () => inspect(new Proxy(key, {}), { showProxy: true, showHidden: true })],
    ["inspect of an error", () => inspect(error, { showHidden: true, depth: null })],
    ["an error's stack", () => String(error.stack)],
    ["format with %o", () => format("%o", key)],
    ["format with %O", () => format("%O", holder)],
    ["format with %j", () => format("%j", holder)],
    ["JSON", () => JSON.stringify([holder, error, error.cause])],
    ["structuredClone", () => inspect(structuredClone(key), { showHidden: true, depth: null })],
    ["Object.keys", () => Object.keys(key).join()],
    ["Object.entries", () => JSON.stringify(Object.entries(key))],
    ["getOwnPropertyNames", () => Object.getOwnPropertyNames(key).join()],
    ["Reflect.ownKeys", () => inspect(Reflect.ownKeys(key))],
    ["Object.assign", () => JSON.stringify(Object.assign({}, key))],
    ["toLocaleString", () => key.toLocaleString()],
    ["toString", () => key.toString()],
    ["the mask", () => key.masked],
    ["the hash", () => key.hash],
  ])("by %s", (_name, show) => {
    expect(show()).not.toContain("0000b465");
    expect(show()).not.toContain("sk-or");
  });

  it("but by reveal()", () => {
    expect(key.reveal()).toBe(TEXT);
  });
});
