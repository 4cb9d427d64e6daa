import { describe, expect, it } from "vitest";
import { formatAgo, formatExactly, formatSpan } from "../../src/cli/format-duration.ts";

describe("a duration", () => {
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
});
