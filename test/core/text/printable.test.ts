import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { printable, printableJson } from "../../../src/core/text/printable.ts";

/** Controls, bidi and zero-width characters, line ends that are no control, fillers, half surrogate pairs. */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Bidi_Control}\p{Default_Ignorable_Code_Point}]/u;

/** Any text, with many of the characters that this is about in it. */
const text = fc.string({
  unit: fc.oneof(
    fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
    fc.constantFrom("a", "é", " ", "\\", "\n", "\u001b", "\u202E", "\u200B", "\u034F", "\uFE0F", "\u{E0001}", "\uD800"),
  ),
});

describe("printable", () => {
  it.each([
    ["a line end", "a\nb", String.raw`a\u000ab`],
    ["an escape sequence", "\u001b[31m", String.raw`\u001b[31m`],
    ["a C1 control", "\u009b31m", String.raw`\u009b31m`],
    ["NUL", "\0", String.raw`\u0000`],
    ["a bidi override", "a\u202Eb", String.raw`a\u202eb`],
    ["a bidi isolate", "\u2066x\u2069", String.raw`\u2066x\u2069`],
    ["a zero-width space", "a\u200Bb", String.raw`a\u200bb`],
    ["a byte order mark", "\uFEFFa", String.raw`\ufeffa`],
    ["a soft hyphen", "a\u00ADb", String.raw`a\u00adb`],
    ["a combining grapheme joiner", "a\u034Fb", String.raw`a\u034fb`],
    ["a variation selector", "a\uFE00", String.raw`a\ufe00`],
    ["a line separator", "a\u2028b", String.raw`a\u2028b`],
    ["a Hangul filler", "\u3164", String.raw`\u3164`],
    ["a tag character", "\u{E0041}", String.raw`\u{e0041}`],
    ["half a surrogate pair", "a\uD83D", String.raw`a\ud83d`],
  ])("escapes %s", (_name, hidden, shown) => {
    expect(printable(hidden)).toBe(shown);
  });

  it.each(["alice@example.com", "Zoë", "山田太郎", "مرحبا", "😀", "a b", "***************b465", "C:\\keys"])(
    "leaves %s as it is",
    (visible) => {
      expect(printable(visible)).toBe(visible);
    },
  );

  it("leaves nothing that moves, hides or reorders", () => {
    fc.assert(
      fc.property(text, (outside) => {
        expect(printable(outside)).not.toMatch(HIDDEN);
      }),
    );
  });

  it("changes nothing else", () => {
    fc.assert(
      fc.property(text, (outside) => {
        const visible = outside.replaceAll(new RegExp(HIDDEN, "gu"), "");
        expect(printable(visible)).toBe(visible);
      }),
    );
  });
});

describe("printableJson", () => {
  it("leaves nothing that moves, hides or reorders", () => {
    fc.assert(
      fc.property(fc.dictionary(text, fc.array(text)), (value) => {
        expect(printableJson(value)).not.toMatch(HIDDEN);
      }),
    );
  });

  it("parses back to the same value", () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: "binary" }), fc.dictionary(text, text), (value, texts) => {
        expect(JSON.parse(printableJson({ value, texts }))).toEqual(JSON.parse(JSON.stringify({ value, texts })));
        expect(JSON.parse(printableJson(texts))).toEqual({ ...texts });
      }),
    );
  });
});
