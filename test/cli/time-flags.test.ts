import { array, assert, constantFrom, integer, property } from "fast-check";
import { describe, expect, it } from "vitest";
import { durationMeant, durationText, LONGEST_MS, parseDuration } from "../../src/core/text/duration.ts";
import { parseGrace } from "../../src/core/model/grace.ts";
import { flagFuture, flagPast } from "../../src/cli/time-flags.ts";
import type { KeyctlError } from "../../src/core/model/errors.ts";
import { standStill } from "../support/fixtures/date-of-test.ts";

const DAY = 86_400_000;

function hintOf(text: string): string | null {
  try {
    flagPast("--since")(text);
    return null;
  } catch (thrown) {
    return (thrown as KeyctlError).hint;
  }
}

describe("a duration", () => {
  it.each([
    ["500ms", 500],
    ["30s", 30_000],
    ["5m", 300_000],
    ["1h30m", 5_400_000],
    ["24h", DAY],
    ["90d", 90 * DAY],
    ["2w", 14 * DAY],
    ["1y", 365 * DAY],
    ["1y2w3d4h5m6s7ms", 365 * DAY + 17 * DAY + 14_706_007],
    ["100y", LONGEST_MS],
    ["0h30m", 1_800_000],
  ])("%s is %i milliseconds", (text, milliseconds) => {
    expect(parseDuration(text)).toBe(milliseconds);
  });

  it.each([
    "",
    "30",
    "0s",
    "0h0m",
    "-1s",
    "s",
    "1e3s",
    "9999999999s",
    "101y",
    "36501d",
    "1m1h",
    "1h1h",
    "1m 1s",
    "1h30",
    "1.5h",
    "30 s",
    " 30s",
    "30S",
    "1M",
    "5min",
    "10 days",
    "1month",
    "P1D",
    "∞",
    "١d",
  ])("'%s' is none", (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  it.each([
    ["5min", "5m"],
    ["10 days", "10d"],
    ["1 hour 30 minutes", "1h30m"],
    ["1.5h", "1h30m"],
    ["1,5 hours", "1h30m"],
    ["30S", "30s"],
    [" 30s", "30s"],
    ["2 Weeks", "14d"],
    ["1month", "30d"],
    ["90mins", "1h30m"],
    ["1m1h", "1h1m"],
    ["P1D", "1d"],
    ["P1Y", "365d"],
    ["PT1H30M", "1h30m"],
    ["1M", undefined],
    ["P1M", undefined],
    ["P", undefined],
    ["PT", undefined],
    ["30", undefined],
    ["-1s", undefined],
    ["0s", undefined],
    ["200y", undefined],
    ["soon", undefined],
    ["5 parsecs", undefined],
    ["", undefined],
  ])("'%s' was meant as %s", (text, meant) => {
    expect(durationMeant(text)).toBe(meant);
  });

  it("is read back from every text that is made of one", () => {
    assert(
      property(integer({ min: 1, max: LONGEST_MS }), (milliseconds) => {
        expect(parseDuration(durationText(milliseconds))).toBe(milliseconds);
      }),
    );
  });

  it("is what each guess parses as, whatever was typed", () => {
    const words = array(constantFrom("1", "90", "1.5", " ", "h", "min", "days", "P", "T", "M", "y", "-", "é"));
    assert(
      property(words, (parts) => {
        const meant = durationMeant(parts.join(""));
        if (meant !== undefined) expect(parseDuration(meant)).toBeGreaterThan(0);
      }),
    );
  });

  it.each([
    ["0", 0],
    ["10m", 600_000],
    ["1h30m", 5_400_000],
    ["2w", 14 * DAY],
    ["30d", 30 * DAY],
    ["31d", undefined],
    ["1y", undefined],
    ["0s", undefined],
    ["10", undefined],
  ])("%s as a grace is %s", (text, milliseconds) => {
    expect(parseGrace(text)).toBe(milliseconds);
  });
});

describe("a point in time", () => {
  const year = new Date().getUTCFullYear();

  it.each([
    ["a day, which begins at midnight UTC", `${year - 1}-06-30`, `${year - 1}-06-30T00:00:00.000Z`],
    ["a time", `${year - 1}-06-30T12:00:00Z`, `${year - 1}-06-30T12:00:00.000Z`],
    ["a time with an offset", `${year - 1}-06-30T12:00:00+02:00`, `${year - 1}-06-30T10:00:00.000Z`],
    ["a time in lower case", `${year - 1}-06-30t12:00:00z`, `${year - 1}-06-30T12:00:00.000Z`],
    ["the 29th of February", "2024-02-29", "2024-02-29T00:00:00.000Z"],
  ])("is %s", (_, text, at) => {
    const { isDate, ...time } = flagPast("--since")(text);
    expect([isDate, time.at.toISOString()]).toEqual([true, at]);
    expect(Math.abs(Date.now() - time.at.getTime() - time.milliseconds)).toBeLessThan(5000);
  });

  it("is a duration from now, into the past or the future", () => {
    expect(Math.abs(flagPast("--since")("2w").at.getTime() - (Date.now() - 14 * DAY))).toBeLessThan(5000);
    expect(Math.abs(flagFuture("--expires-in")("2w").at.getTime() - (Date.now() + 14 * DAY))).toBeLessThan(5000);
    expect(flagPast("--since")("2w")).toMatchObject({ milliseconds: 14 * DAY, isDate: false });
  });

  it.each([
    "2025-02-29",
    "2025-02-30T12:00:00Z",
    "2025-13-01",
    "2025-00-10",
    "2025-6-1",
    "01.06.2025",
    "2025",
    "yesterday",
    "2025-06-30T12:00:00",
    "2025-06-30 12:00:00Z",
    "2025-06-30T25:00:00Z",
    `${year + 1}-06-30`,
    "1800-01-01",
  ])("is refused: %s", (text) => {
    expect(() => flagPast("--since")(text)).toThrow(
      /^--since takes a duration such as .* 2w or 1y, of at most 100y, or a date in the past such as \d{4}-\d\d-\d\d or /,
    );
  });

  it("is not in the past where the future is meant", () => {
    expect(() => flagFuture("--expires-in")(`${year - 1}-06-30`)).toThrow(/a date in the future such as /);
    expect(flagFuture("--expires-in")(`${year + 1}-06-30`).isDate).toBe(true);
  });
});

describe("the time that it is now", () => {
  standStill();

  it("is in the past", () => {
    const now = new Date();
    expect(flagPast("--since")(now.toISOString())).toEqual({ at: now, milliseconds: 1, isDate: true });
    expect(() => flagFuture("--expires-in")(now.toISOString())).toThrow(/a date in the future such as /);
  });

  it("that lacks its offset is repeated with one", () => {
    expect(hintOf("2026-01-30T10:00")).toBe("--since 2026-01-30T10:00:00Z");
    expect(hintOf("2026-01-30T10:00:30")).toBe("--since 2026-01-30T10:00:30Z");
    expect(hintOf("2026-02-30T10:00")).toBe("--since 7d");
  });
});
