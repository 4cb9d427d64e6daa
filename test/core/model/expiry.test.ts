import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expiryMs, isOver, publicExpiry, rfc3339In } from "../../../src/core/model/expiry.ts";
import { attentionOf, failingWarnings, NOT_SAID } from "../../../src/core/model/verdict.ts";
import type { Attention, Limits } from "../../../src/core/model/verdict.ts";
import { expiryIn } from "../../../src/stores/format/values.ts";

const NOW = Date.parse("2026-11-24T12:00:00.000Z");
const DAY = 86_400_000;

const UNREADABLE: readonly unknown[] = [
  "2026-12-31",
  "2026-12-31T00:00:00",
  "2026-12-31 00:00:00Z",
  "31.12.2026",
  "soon",
  "",
  1_798_675_200,
  true,
  {},
  [],
  new Date(Number.NaN),
];

describe("an end that cannot be read", () => {
  it.each(UNREADABLE.map((value) => [value]))("is unknown and never 'never': %j", (value) => {
    const kept = expiryIn(value);
    expect(expiryMs(kept)).toBe("unknown");
    expect(publicExpiry(kept)).toBe("unknown");
    expect(isOver(kept, Number.MAX_SAFE_INTEGER)).toBe(false);
    expect(expiryIn(kept)).toBe(kept);
  });

  it("is any value but null, a date and a time with its offset", () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        if (value === null || value === undefined || rfc3339In(value) !== null) return;
        if (value instanceof Date && !Number.isNaN(value.getTime())) return;
        expect(expiryMs(expiryIn(value))).toBe("unknown");
      }),
    );
  });

  it.each([
    ["2027-01-01T00:00:00Z", "2027-01-01T00:00:00.000Z"],
    ["2027-01-01T02:00:00.123456+02:00", "2027-01-01T00:00:00.123Z"],
    [new Date("2027-01-01T00:00:00Z"), "2027-01-01T00:00:00.000Z"],
    [null, null],
    [undefined, null],
  ])("is none of these: %j", (value, kept) => {
    expect(expiryIn(value)).toBe(kept);
    expect(publicExpiry(kept)).toBe(kept);
  });
});

describe("the attention that the end of an accepted key needs", () => {
  const attention = (expiresAt: string | null | undefined, limits: Limits = {}): readonly Attention[] =>
    attentionOf({ ...NOT_SAID, status: "valid", reason: null, witness: "key", expiresAt }, limits, NOW);

  it.each<[string | null | undefined, readonly Attention[]]>([
    [null, []],
    [undefined, []],
    [new Date(NOW + 15 * DAY).toISOString(), []],
    [new Date(NOW + 13 * DAY).toISOString(), ["EXPIRES_SOON"]],
    [new Date(NOW + 1).toISOString(), ["EXPIRES_SOON"]],
    [new Date(NOW).toISOString(), ["EXPIRED"]],
    [new Date(NOW - DAY).toISOString(), ["EXPIRED"]],
    ["2027-01-01", ["EXPIRY_UNKNOWN"]],
  ])("%j: %j", (expiresAt, expected) => {
    expect(attention(expiresAt)).toEqual(expected);
  });

  it("is a failure where the caller asked for keys that end, also where the end is unknown", () => {
    const limits = { warnWithinMs: DAY };
    for (const name of ["EXPIRES_SOON", "EXPIRED", "EXPIRY_UNKNOWN"] as const) {
      expect(failingWarnings([name], limits)).toEqual([name]);
      expect(failingWarnings([name], {})).toEqual([]);
    }
  });
});
