import { assert, asyncProperty, constantFrom, option } from "fast-check";
import { describe, expect, it } from "vitest";
import { ApiKey } from "../../../src/core/model/api-key.ts";
import { decideVerdict, verdictOfEntry } from "../../../src/core/validate/decide-verdict.ts";
import type {
  FindResult,
  KeyCheck,
  OpenRouter,
  Unknown,
  UpstreamKey,
  UpstreamKeys,
} from "../../../src/core/ports/openrouter.ts";
import { attentionOf, NOT_SAID } from "../../../src/core/model/verdict.ts";
import type { Verdict } from "../../../src/core/model/verdict.ts";
import { KEY } from "../../support/fixtures/keys.ts";
import { deadlineIn } from "../../../src/core/async/deadline.ts";

const NOW = Date.parse("2026-11-24T12:00:00.000Z");
const key = ApiKey.parse(KEY) as ApiKey;

const accepted = (isManagementKey = false): KeyCheck => ({ ...NOT_SAID, status: "accepted", isManagementKey });
const refused: KeyCheck = { status: "refused", detail: "answered 401: User not found." };
const unknown = (httpStatus: number | null = 503): Unknown => ({
  status: "unknown",
  reason: "provider_error",
  httpStatus,
  attempts: 2,
  detail: `answered ${httpStatus}`,
  remedy: undefined,
});
const entry = (about: Partial<UpstreamKey> = {}): UpstreamKey => ({
  ...NOT_SAID,
  hash: key.hash,
  name: "a key",
  disabled: false,
  includeByokInLimit: false,
  usageToday: 0,
  createdAt: null,
  workspace: null,
  ...about,
});
const found = (about: Partial<UpstreamKey> = {}): FindResult => ({ status: "found", key: entry(about) });

/** What is asked, in order, and the verdict. */
async function examined(checks: readonly KeyCheck[], finding?: FindResult, bornAt?: number) {
  const asked: string[] = [];
  // Only what a verdict may ask is there.
  const openRouter = {
    serverTime: () => undefined,
    checkKey: async () => {
      asked.push("key");
      return checks[asked.length - 1];
    },
  } as unknown as OpenRouter;
  const keys = {
    find: async (hash: string) => {
      asked.push(hash === key.hash ? "hash" : "another");
      return finding;
    },
  } as unknown as UpstreamKeys;
  const verdict = await decideVerdict(
    key,
    { openRouter, keys: finding === undefined ? undefined : keys, now: () => NOW },
    deadlineIn(1_000, new AbortController().signal),
    bornAt,
  );
  return { asked, verdict };
}

describe("a verdict", () => {
  it.each<[string, readonly KeyCheck[], FindResult | undefined, Partial<Verdict>, readonly string[]]>([
    ["an accepted key is valid", [accepted()], undefined, { status: "valid", witness: "key" }, ["key"]],
    [
      "a management key is invalid in a user's place",
      [accepted(true)],
      undefined,
      { status: "invalid", reason: "management_key" },
      ["key"],
    ],
    ["a refusal that is taken back is none", [refused, accepted()], undefined, { status: "valid" }, ["key", "key"]],
    [
      "a refusal twice is invalid without a second witness",
      [refused, refused],
      undefined,
      { status: "invalid", reason: "refused", witness: "key" },
      ["key", "key"],
    ],
    [
      "a refusal that cannot be repeated is unknown",
      [refused, unknown()],
      undefined,
      { status: "unknown" },
      ["key", "key"],
    ],
    [
      "no answer is unknown",
      [unknown()],
      found({ disabled: true }),
      { status: "unknown", reason: "provider_error" },
      ["key"],
    ],
    [
      "a refused key without an entry was deleted",
      [refused, refused],
      { status: "gone" },
      { status: "invalid", reason: "deleted", witness: "hash" },
      ["key", "key", "hash"],
    ],
    [
      "a disabled one is disabled, even when its time is over as well",
      [refused, refused],
      found({ disabled: true, expiresAt: "2026-11-24T11:59:59.000Z" }),
      { status: "invalid", reason: "disabled" },
      ["key", "key", "hash"],
    ],
    [
      "one whose time is over has expired",
      [refused, refused],
      found({ expiresAt: "2026-11-24T12:00:00.000Z" }),
      { status: "invalid", reason: "expired" },
      ["key", "key", "hash"],
    ],
    ["one that is alive is unknown", [refused, refused], found(), { status: "unknown" }, ["key", "key", "hash"]],
    [
      "a second witness who is silent makes it unknown",
      [refused, refused],
      unknown(),
      { status: "unknown" },
      ["key", "key", "hash"],
    ],
  ])("%s", async (_name, checks, finding, expected, asked) => {
    const result = await examined(checks, finding);
    expect(result.verdict).toMatchObject(expected);
    expect(result.asked).toEqual(asked);
  });

  const anyCheck = constantFrom<KeyCheck>(accepted(), accepted(true), refused, unknown(), unknown(403), unknown(null));
  const anyFinding = option(
    constantFrom<FindResult>(
      found(),
      found({ disabled: true }),
      found({ expiresAt: "2020-01-01T00:00:00.000Z" }),
      { status: "gone" },
      unknown(),
    ),
    { nil: undefined },
  );

  it("is invalid only when OpenRouter said so: twice, or of a management key", async () => {
    await assert(
      asyncProperty(anyCheck, anyCheck, anyFinding, async (first, second, finding) => {
        const { verdict, asked } = await examined([first, second], finding);
        expect(asked.length).toBeLessThanOrEqual(3);
        if (verdict.status !== "invalid") return;
        const checks = [first, second].slice(0, asked.filter((name) => name === "key").length);
        expect(checks.every(({ status }) => status === "refused") ? checks.length : verdict.reason).toSatisfy(
          (value) => value === 2 || value === "management_key",
        );
        expect(
          finding?.status === "found" &&
            verdictOfEntry(finding.key, "hash", NOW).status === "valid" &&
            verdict.reason !== "management_key",
        ).toBe(false);
      }),
    );
  });

  it("is not held against the provider when the answer is about what this key may spend", async () => {
    const blamed = await Promise.all([402, 403, 429, 503, null].map((status) => examined([unknown(status)])));
    expect(blamed.map(({ verdict }) => verdict.status === "unknown" && verdict.isAboutProvider)).toEqual([
      false,
      false,
      true,
      true,
      true,
    ]);
  });
});

const valid = (terms: Partial<typeof NOT_SAID>): Verdict => ({
  status: "valid",
  reason: null,
  witness: "key",
  ...NOT_SAID,
  ...terms,
});

describe("the worries about a key that works", () => {
  it.each([
    [{ expiresAt: "2026-12-08T12:00:00.000Z" }, {}, ["EXPIRES_SOON"]],
    [{ expiresAt: "2026-12-08T12:00:00.001Z" }, {}, []],
    [{ expiresAt: "2026-12-08T12:00:00.000Z" }, { warnWithinMs: 1_000 }, []],
    [{ limit: 5, limitRemaining: 0 }, {}, ["LIMIT_USED_UP"]],
    [{ limit: 5, limitRemaining: 0.4 }, { minRemaining: 0.5 }, ["LIMIT_USED_UP"]],
    [{ limit: 5, limitRemaining: 0.5 }, { minRemaining: 0.5 }, []],
    [{ limit: null, limitRemaining: null }, {}, ["NO_LIMIT"]],
    [{}, {}, []],
  ])("of %j with %j are %j", (terms, limits, expected) => {
    expect(attentionOf(valid(terms), limits, NOW)).toEqual(expected);
  });
});

describe("a key that was just created", () => {
  it("is not called invalid while it may not be known everywhere", async () => {
    const { asked, verdict } = await examined([refused, refused], undefined, NOW - 29_000);
    expect([verdict.status, verdict.reason, asked]).toEqual(["unknown", "provider_error", ["key"]]);
  });

  it("is believed to be refused after thirty seconds", async () => {
    const { verdict } = await examined([refused, refused], undefined, NOW - 30_000);
    expect([verdict.status, verdict.reason]).toEqual(["invalid", "refused"]);
  });
});
