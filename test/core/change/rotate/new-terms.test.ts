import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { endOfPeriod, newTermsOf } from "../../../../src/core/change/rotate/new-terms.ts";
import { KeyctlError } from "../../../../src/core/model/errors.ts";
import type { KeyRecord, LimitReset } from "../../../../src/core/model/key-record.ts";
import type { RotateTask } from "../../../../src/core/model/rotate-results.ts";
import type { UpstreamKey } from "../../../../src/core/ports/openrouter.ts";
import { alice, KEY, record } from "../../../support/memory/manager-over.ts";

const NOW = Date.parse("2026-11-24T12:00:00Z");
const TASK: RotateTask = { graceMs: 0, limit: "keep", includeDisabled: false, foreign: "refuse", wait: false };
const UPSTREAM: UpstreamKey = {
  hash: KEY.hash,
  name: "a key",
  disabled: false,
  limit: 10,
  limitRemaining: 4,
  limitReset: "monthly",
  includeByokInLimit: true,
  usageToday: 0,
  createdAt: "2026-10-01T00:00:00Z",
  expiresAt: null,
  lastUsedAt: null,
  workspace: "2f1f21a0-5b5a-4b6c-9d0a-4ad8f0b0c0d1",
};

/** The terms of any new key. */
const given = () => ({ label: null, limit: 1, limitReset: null, expiresInMs: null, workspace: null });

function termsOf(row: Partial<KeyRecord>, upstream: Partial<UpstreamKey> | undefined, task: Partial<RotateTask> = {}) {
  return newTermsOf(
    { ...record(alice, KEY), generation: 1, limit: 10, limitReset: "monthly", ...row },
    upstream === undefined ? undefined : { ...UPSTREAM, ...upstream },
    { task: { ...TASK, ...task }, given, now: NOW },
  );
}

const codeOf = (work: () => unknown) => {
  try {
    return work();
  } catch (thrown) {
    return thrown instanceof KeyctlError ? thrown.code : thrown;
  }
};

const money = fc.integer({ min: 0, max: 100_000 }).map((cents) => cents / 100);
const reset = fc.constantFrom<LimitReset | null>("daily", "weekly", "monthly", null);
const limitDue = fc.option(
  money.map((limit) => ({ limit, at: "2026-12-01T00:05:00.000Z" })),
  { nil: null },
);

describe("a budget that is kept", () => {
  it("is never more than what was left, and comes back as a whole or not at all", () => {
    fc.assert(
      fc.property(money, money, reset, limitDue, (limit, spent, limitReset, due) => {
        const left = limit - spent;
        const { terms, limitDue: next } = termsOf({ limitDue: due }, { limit, limitRemaining: left, limitReset });
        expect(terms.limit).toBe(Math.max(0, left));
        expect(terms.limitReset).toBe(limitReset);
        if (due !== null) expect(next).toEqual(due);
        else expect(next?.limit ?? limit).toBe(limit);
        // Without a reset, nothing comes back.
        if (due === null && limitReset === null) expect(next).toBe(null);
      }),
    );
  });

  it("of a deleted key is never more than what its row knows", () => {
    fc.assert(
      fc.property(money, limitDue, (limit, due) => {
        const { terms, limitDue: next } = termsOf({ limit, limitDue: due }, undefined);
        expect([terms.limit, next]).toEqual([limit, due]);
      }),
    );
  });

  it("is none where a person has removed the limit meanwhile", () => {
    const { terms, limitDue: next } = termsOf(
      { limitDue: { limit: 10, at: "2026-12-01T00:05:00.000Z" } },
      { limit: null, limitRemaining: null },
    );
    expect([terms.limit, terms.limitReset, next]).toEqual([null, null, null]);
  });

  it("never ends without a limit where there was one", () => {
    fc.assert(
      fc.property(
        money,
        fc.option(money, { nil: undefined }),
        fc.constantFrom("keep" as const, "full" as const),
        (limit, left, wanted) => {
          const end = codeOf(() => termsOf({}, { limit, limitRemaining: left }, { limit: wanted }).terms.limit);
          expect(end === "PROVIDER_UNAVAILABLE" || typeof end === "number").toBe(true);
        },
      ),
    );
  });

  it.each([
    ["OpenRouter does not state the limit", { limit: undefined }],
    ["OpenRouter does not state what is left", { limitRemaining: undefined }],
    ["what is left is null", { limitRemaining: null }],
    ["it is reset in an unknown way", { limitReset: "yearly" }],
    ["its expiry cannot be read", { expiresAt: "next spring" }],
    ["its expiry is not stated", { expiresAt: undefined }],
    ["it was created after it expired", { expiresAt: "2026-09-01T00:00:00Z" }],
  ] as const)("is not guessed where %s", (_, upstream) => {
    expect(codeOf(() => termsOf({}, upstream))).toBe("PROVIDER_UNAVAILABLE");
  });

  it("is none where there was none, and an unknown reset does not matter then", () => {
    const { terms, limitDue: due } = termsOf({}, { limit: null, limitRemaining: null, limitReset: "yearly" });
    expect([terms.limit, terms.limitReset, due]).toEqual([null, null, null]);
  });
});

describe("the other terms", () => {
  it("are those of the old key", () => {
    const { terms, includeByokInLimit } = termsOf({ label: "ann" }, { expiresAt: "2026-10-31T00:00:00Z" });
    expect(terms).toMatchObject({ label: "ann", expiresInMs: 30 * 86_400_000, workspace: UPSTREAM.workspace });
    expect(includeByokInLimit).toBe(true);
  });

  it("of a deleted key that keyctl did not create are those of any new key", () => {
    const { terms } = termsOf({ generation: 0 }, undefined);
    expect(terms).toMatchObject({ limit: 1, expiresInMs: null });
  });

  it("are as asked", () => {
    const { terms, limitDue: due } = termsOf({}, {}, { limit: 25, expiresInMs: null });
    expect([terms.limit, terms.limitReset, terms.expiresInMs, due]).toEqual([25, "monthly", null, null]);
  });
});

describe("the end of a period", () => {
  it.each([
    ["daily", "2026-11-24T00:00:00.000Z", "2026-11-25T00:05:00.000Z"],
    ["daily", "2026-12-31T23:59:59.999Z", "2027-01-01T00:05:00.000Z"],
    ["weekly", "2026-11-24T12:00:00.000Z", "2026-11-30T00:05:00.000Z"],
    ["weekly", "2026-11-29T23:59:59.999Z", "2026-11-30T00:05:00.000Z"],
    ["weekly", "2026-11-30T00:00:00.000Z", "2026-12-07T00:05:00.000Z"],
    ["monthly", "2026-11-30T23:59:59.999Z", "2026-12-01T00:05:00.000Z"],
    ["monthly", "2026-12-01T00:00:00.000Z", "2027-01-01T00:05:00.000Z"],
    ["monthly", "2028-02-29T12:00:00.000Z", "2028-03-01T00:05:00.000Z"],
  ] as const)("%s, seen at %s, is %s", (period, at, expected) => {
    expect(endOfPeriod(period, Date.parse(at))).toBe(expected);
  });

  it("is a midnight and five minutes, later than now, and at most one period away", () => {
    const most = { daily: 1, weekly: 7, monthly: 31 };
    fc.assert(
      fc.property(
        fc.constantFrom("daily" as const, "weekly" as const, "monthly" as const),
        fc.integer({ min: 0, max: Date.UTC(2100, 0, 1) }),
        (period, now) => {
          const end = Date.parse(endOfPeriod(period, now)) - 300_000;
          expect(end % 86_400_000).toBe(0);
          expect(end).toBeGreaterThan(now);
          expect(end - now).toBeLessThanOrEqual(most[period] * 86_400_000);
          if (period === "weekly") expect(new Date(end).getUTCDay()).toBe(1);
          if (period === "monthly") expect(new Date(end).getUTCDate()).toBe(1);
        },
      ),
    );
  });
});
