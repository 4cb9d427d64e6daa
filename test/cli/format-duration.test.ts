import { describe, expect, it } from "vitest";
import { formatAgo, formatExactly, formatSpan } from "../../src/cli/format-duration.ts";
import { parseGrace } from "../../src/core/model/grace.ts";
import { parseDuration } from "../../src/core/text/duration.ts";

describe("a duration", () => {
  it.each([
    ["500ms", 500],
    ["30s", 30_000],
    ["5m", 300_000],
    ["24h", 86_400_000],
    ["90d", 7_776_000_000],
  ])("%s is %i milliseconds", (text, milliseconds) => {
    expect(parseDuration(text)).toBe(milliseconds);
  });

  it.each(["", "30", "0s", "-1s", "1.5h", "1w", "s", "30 s", " 30s", "30S", "1e3s", "9999999999s"])(
    "'%s' is none",
    (text) => {
      expect(parseDuration(text)).toBeUndefined();
    },
  );

  it.each([
    [999, "0s", "just now"],
    [1000, "1s", "1 second ago"],
    [119_999, "1m", "1 minute ago"],
    [2 * 3_600_000, "2h", "2 hours ago"],
    [47 * 86_400_000, "47d", "47 days ago"],
    [-5000, "0s", "just now"],
  ])("%i milliseconds are told as %s and '%s'", (milliseconds, span, ago) => {
    expect([formatSpan(milliseconds), formatAgo(milliseconds)]).toEqual([span, ago]);
  });

  it.each([
    [600_000, "10 minutes"],
    [90_000, "90 seconds"],
    [86_400_000, "1 day"],
    [36 * 3_600_000, "36 hours"],
    [1, "1 second"],
  ])("%i milliseconds are exactly %s", (milliseconds, words) => {
    expect(formatExactly(milliseconds)).toBe(words);
  });

  it.each([
    ["0", 0],
    ["10m", 600_000],
    ["30d", 30 * 86_400_000],
    ["31d", undefined],
    ["0s", undefined],
    ["10", undefined],
  ])("%s as a grace is %s", (text, milliseconds) => {
    expect(parseGrace(text)).toBe(milliseconds);
  });
});
