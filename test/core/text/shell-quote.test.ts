import { execFileSync } from "node:child_process";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { printable } from "../../../src/core/text/printable.ts";
import { shellQuote, userFlag } from "../../../src/core/text/shell-quote.ts";

/** What a shell makes of this line's words, each with an end of its own that no word can hold. */
function wordsOf(line: string, { shell = "bash", locale = "C.UTF-8" } = {}): readonly string[] {
  const script = `set -- ${line}\nprintf '%s\\0' "$@"`;
  const output = execFileSync(shell, ["-c", script], {
    env: { PATH: process.env["PATH"], LC_ALL: locale },
    stdio: ["ignore", "pipe", "inherit"],
  });
  return output.toString("utf8").split("\0").slice(0, -1);
}

/** Any word that a command line can hold: valid Unicode without NUL, with many characters that shells know. */
const word = fc
  .string({
    unit: fc.oneof(
      fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
      fc.constantFrom(..."abc09=~-!#$%^&*()[]{}<>?|;:,./\\'\"` \t\n\r".split("")),
      fc.constantFrom("\u001b", "\u0085", "\u202E", "\u200B", "\uFE0F", "é", "’", "😀", "\u{E0041}"),
    ),
  })
  .filter((text) => !text.includes("\0"));
const words = fc.array(word, { minLength: 100, maxLength: 100 });

describe("shellQuote", () => {
  it.each(["C.UTF-8", "C"])("is read back by bash as the same words, in the locale %s", (locale) => {
    fc.assert(
      fc.property(words, (expected) => {
        expect(wordsOf(expected.map(shellQuote).join(" "), { locale })).toEqual(expected);
      }),
      { numRuns: 10 },
    );
  });

  it("is read back by sh as the same words where nothing in them is hidden", () => {
    fc.assert(
      fc.property(words, (all) => {
        const expected = all.filter((text) => printable(text) === text);
        expect(wordsOf(expected.map(shellQuote).join(" "), { shell: "sh" })).toEqual(expected);
      }),
      { numRuns: 10 },
    );
  });

  it("prints nothing that moves, hides or reorders", () => {
    fc.assert(
      fc.property(word, (text) => {
        expect(shellQuote(text)).toBe(printable(shellQuote(text)));
      }),
    );
  });

  it.each([
    ["alice@example.com", "alice@example.com"],
    ["68e228e87f803a11a4e23045", "68e228e87f803a11a4e23045"],
    ["/run/secrets/key.txt", "/run/secrets/key.txt"],
    ["", "''"],
    ["a b", "'a b'"],
    ["it's", `'it'\\''s'`],
    ["$(reboot)", "'$(reboot)'"],
    ["~root", "'~root'"],
    ["=ls", "'=ls'"],
    ["a=b", "a=b"],
    ["Zoë", "'Zoë'"],
    ["a\nb", "$'a\\012b'"],
    ["a\u200Bb", "$'a\\342\\200\\213b'"],
  ])("of %j is %s", (text, quoted) => {
    expect(shellQuote(text)).toBe(quoted);
  });
});

describe("userFlag", () => {
  it.each([
    ["alice", "--user alice"],
    ["a b", "--user 'a b'"],
    ["-x", "--user=-x"],
    ["--all", "--user=--all"],
    ["-a b", "--user='-a b'"],
    ["=a", "--user='=a'"],
  ])("of %j is %s", (user, flag) => {
    expect(userFlag(user)).toBe(flag);
  });
});
