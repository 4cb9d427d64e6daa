import { inspect } from "node:util";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isKeyctlError } from "../../../src/core/model/errors.ts";
import type { KeyctlError } from "../../../src/core/model/errors.ts";
import { printable } from "../../../src/core/text/printable.ts";
import { parseUserId, repeatableId, shortId } from "../../../src/core/model/user-id.ts";
import { KEY } from "../../support/fixtures/keys.ts";
import { userIdTexts } from "../../support/fixtures/arbitraries.ts";

function refusalOf(text: string): KeyctlError {
  try {
    parseUserId(text);
  } catch (thrown) {
    if (isKeyctlError(thrown)) return thrown;
    throw thrown;
  }
  throw new Error(`${inspect(text)} was taken`);
}

describe("parseUserId", () => {
  it.each([
    ["one character", "a", "a"],
    ["an address", "alice@example.com", "alice@example.com"],
    ["24 hex characters", "68e228e87f803a11a4e23045", "68e228e87f803a11a4e23045"],
    ["24 hex characters in capitals: in lower case", "68E228E87F803A11A4E23045", "68e228e87f803a11a4e23045"],
    ["23 hex characters in capitals: as they are", "68E228E87F803A11A4E2304", "68E228E87F803A11A4E2304"],
    ["25 hex characters in capitals: as they are", "68E228E87F803A11A4E230451", "68E228E87F803A11A4E230451"],
    ["24 capitals that are not all hex: as they are", "G8E228E87F803A11A4E23045", "G8E228E87F803A11A4E23045"],
    ["a blank inside", "Alice Liddell", "Alice Liddell"],
    ["a decomposed letter: composed", "Zoe\u0308", "Zo\u00EB"],
    ["a Hangul syllable in parts: composed", "\u1112\u1161\u11AB", "\uD55C"],
    ["a sign with a canonical equal: that one", "\u212B", "\u00C5"],
    ["128 bytes", "x".repeat(128), "x".repeat(128)],
    ["128 bytes in 32 characters", "\u{1F600}".repeat(32), "\u{1F600}".repeat(32)],
    ["128 bytes after composing, 192 before", "e\u0301".repeat(64), "\u00E9".repeat(64)],
    ["an option's look", "--user", "--user"],
    ["shell characters", "$(id)`'\"\\", "$(id)`'\"\\"],
    ["a path", "../../etc/passwd", "../../etc/passwd"],
    ["a name of JavaScript", "__proto__", "__proto__"],
    ["zero", "0", "0"],
  ])("takes %s", (_name, text, id) => {
    expect(parseUserId(text)).toBe(id);
  });

  it.each([
    ["a mask", "***************b465", "looks like the mask of a key"],
    ["a short mask", "****b465", "looks like the mask of a key"],
    ["a mask behind an id", "alice ***************b465", "looks like the mask of a key"],
    ["a key", KEY, "looks like a key, so it is neither used nor repeated"],
    ["a key behind an id", `alice,${KEY}`, "looks like a key, so it is neither used nor repeated"],
    ["a key in capitals", KEY.toUpperCase(), "looks like a key, so it is neither used nor repeated"],
    ["a key as OpenRouter shows it", "sk-or-v1-0e6...1c96", "looks like a key, so it is neither used nor repeated"],
    ["nothing", "", "is empty"],
    ["129 bytes", "x".repeat(129), "is longer than 128 bytes"],
    ["129 bytes in 43 characters", "\u20AC".repeat(43), "is longer than 128 bytes"],
    ["one whose composed form is longer than 128 bytes", "\u0958".repeat(42), "is longer than 128 bytes"],
    ["a blank before it", " alice", "begins or ends with a blank"],
    ["a blank behind it", "alice ", "begins or ends with a blank"],
    ["a blank alone", " ", "begins or ends with a blank"],
    ["a no-break space before it", "\u00A0alice", "begins or ends with a blank"],
    ["an ideographic space behind it", "alice\u3000", "begins or ends with a blank"],
    ["a line separator behind it", "alice\u2028", "begins or ends with a blank"],
    ["a byte order mark before it", "\uFEFFalice", "begins or ends with a blank"],
    ["a line end behind it", "alice\n", "holds a control character"],
    ["a carriage return behind it", "alice\r", "holds a control character"],
    ["a tab inside", "a\tb", "holds a control character"],
    ["NUL inside", "a\0b", "holds a control character"],
    ["an escape inside", "a\u001b[31mb", "holds a control character"],
    ["DEL inside", "a\u007fb", "holds a control character"],
    ["a C1 control inside", "a\u009bb", "holds a control character"],
    ["half a surrogate pair", "a\uD800b", "is not valid Unicode"],
    ["what broken bytes decode to", "a\uFFFDb", "is not valid Unicode"],
  ])("refuses %s", (_name, text, rule) => {
    const error = refusalOf(text);
    expect(error.code).toBe("BAD_USER_ID");
    expect(error.message).toMatch(new RegExp(`^the user id.* ${rule}$`));
    expect(error.message).toBe(printable(error.message));
  });

  it("shows nothing of an id that is too long: it may be a secret, and a part of a secret is not found later", () => {
    expect(refusalOf("x".repeat(1_000_000)).message).toBe("the user id is longer than 128 bytes");
  });

  it("refuses a key, in any case and with gaps anywhere, and shows nothing of it", () => {
    const key = "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";
    const gaps = fc.constantFrom(" ", "\n", "\r\n", "\t", "\u00A0", "\u200B", "\u00AD", "\n  ");
    const places = fc.array(fc.tuple(fc.nat({ max: key.length }), gaps), { maxLength: 3 });
    fc.assert(
      fc.property(fc.constantFrom(key, key.toUpperCase(), `a ${key}`), places, (text, at) => {
        const broken = at.reduce((shown, [place, gap]) => shown.slice(0, place) + gap + shown.slice(place), text);
        expect(refusalOf(broken).message).toBe("the user id looks like a key, so it is neither used nor repeated");
        expect(repeatableId(broken)).toBe("");
      }),
    );
  });

  it("either refuses a text or gives an id that keeps every rule", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 200 }), (text) => {
        let id: string;
        try {
          id = parseUserId(text);
        } catch (thrown) {
          expect(isKeyctlError(thrown) && thrown.code).toBe("BAD_USER_ID");
          return;
        }
        expect(id).toBe(id.normalize("NFC"));
        expect(Buffer.byteLength(id)).toBeGreaterThanOrEqual(1);
        expect(Buffer.byteLength(id)).toBeLessThanOrEqual(128);
        expect(id).not.toMatch(/\p{Cc}/u);
        expect(id.trim()).toBe(id);
      }),
    );
  });

  it("changes nothing about an id but its composition, and of 24 hex characters the case", () => {
    fc.assert(
      fc.property(userIdTexts, (text) => {
        expect(parseUserId(text)).toBe(text.normalize("NFC"));
      }),
    );
    const hexId = fc.string({ unit: fc.constantFrom(...Array.from("0189abcdefABCDEF")), minLength: 24, maxLength: 24 });
    fc.assert(
      fc.property(hexId, (text) => {
        expect(parseUserId(text)).toBe(text.toLowerCase());
      }),
    );
  });

  it("gives the same id for its own result and for every form of the same text", () => {
    fc.assert(
      fc.property(userIdTexts, (text) => {
        const id = parseUserId(text);
        expect(parseUserId(id)).toBe(id);
        expect(parseUserId(text.normalize("NFD"))).toBe(id);
      }),
    );
  });
});

describe("shortId", () => {
  it.each([
    ["68e228e87f803a11a4e23045", "68e228e8"],
    ["bob", "bob"],
    ["alice@example.com", "alice@ex"],
    ["\u{1F600}".repeat(10), "\u{1F600}".repeat(8)],
    [`x${"\u{1F600}".repeat(10)}`, `x${"\u{1F600}".repeat(7)}`],
    ["a\u202Eb", "a\\u202eb"],
  ])("of %s is %s", (id, short) => {
    expect(shortId(parseUserId(id))).toBe(short);
  });
});
