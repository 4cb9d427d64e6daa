import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { Context } from "../../../../src/core/context.ts";
import { previewRotateMany, rotateMany } from "../../../../src/core/change/rotate/rotate-many.ts";
import type { RotateManyTask } from "../../../../src/core/change/rotate/rotate-many.ts";
import { KeyctlError } from "../../../../src/core/model/errors.ts";
import type { ErrorCode } from "../../../../src/core/model/errors.ts";
import type { KeyRecord } from "../../../../src/core/model/key-record.ts";
import { rotateFailed, rotatePreviewFailed } from "../../../../src/core/model/rotate-results.ts";
import type { RotatePreview, RotateResult } from "../../../../src/core/model/rotate-results.ts";
import { parseUserId } from "../../../../src/core/model/user-id.ts";
import type { UserId } from "../../../../src/core/model/user-id.ts";
import { KeyBudget } from "../../../../src/core/protocol/key-budget.ts";
import { alice, KEY, record } from "../../../support/memory/manager-over.ts";

const NOW = Date.parse("2026-11-24T12:00:00Z");
const DAY = 86_400_000;

const failed = (user: string, code: ErrorCode) => rotateFailed(user, new KeyctlError(code, "it failed"));
const done = (user: string): RotateResult => ({ ...failed(user, "NO_KEY"), verified: true, error: null });
const usersOf = (count: number): readonly UserId[] =>
  Array.from({ length: count }, (_, index) => parseUserId(`user-${index}`));
const numberOf = (user: string) => Number(user.slice("user-".length));

/** Rotations of which those of these users fail. */
const ending = (codeOf: (n: number) => ErrorCode | null) => async (user: UserId) => {
  const code = codeOf(numberOf(user));
  return code === null ? done(user) : failed(user, code);
};

const afterAWhile = async (user: UserId) => {
  await sleep((numberOf(user) * 7) % 13);
  return done(user);
};

/** A store that holds these rows. */
function holding(rows: readonly KeyRecord[]): Context {
  const parts = {
    clock: { now: () => new Date(NOW) },
    store: {
      async findMany(users: readonly UserId[]) {
        return rows.filter(({ userId }) => users.includes(userId));
      },
    },
  };
  // The run uses no other part.
  return parts as unknown as Context;
}

async function* inBatches(users: readonly UserId[], size = 10) {
  for (let start = 0; start < users.length; start += size) yield users.slice(start, start + size);
}

/** What a run gives, in order, whom it rotated, and what it throws in the end. */
async function run(
  users: readonly UserId[],
  task: Partial<RotateManyTask> & Pick<RotateManyTask, "rotateOne">,
  rows: readonly KeyRecord[] = [],
) {
  const rotated: UserId[] = [];
  const given: RotateResult[] = [];
  const rotateOne = (user: UserId) => {
    rotated.push(user);
    return task.rotateOne(user);
  };
  let thrown: unknown;
  try {
    const whole = {
      filter: {},
      budget: new KeyBudget(Number.POSITIVE_INFINITY),
      concurrency: 1,
      ...NO_BOUNDS,
      ...task,
    };
    for await (const batch of rotateMany(inBatches(users), holding(rows), { ...whole, rotateOne }))
      given.push(...batch);
  } catch (failure) {
    thrown = failure;
  }
  const code = thrown instanceof KeyctlError ? thrown.code : thrown;
  return { given: given.map(({ userId }) => userId), results: given, rotated, code };
}

const NO_BOUNDS = {
  ratePerSecond: Number.POSITIVE_INFINITY,
  maxFailures: undefined,
  newSignal: () => AbortSignal.timeout(10_000),
  stop: undefined,
  previewOne: async (user: UserId): Promise<RotatePreview> => ({
    ...rotatePreviewFailed(user, new KeyctlError("NO_KEY", "none")),
    action: "rotate",
    error: null,
  }),
};

const row = (user: string, ageMs: number, change: Partial<KeyRecord> = {}): KeyRecord => ({
  ...record(parseUserId(user), KEY),
  createdAt: new Date(NOW - ageMs).toISOString(),
  ...change,
});

describe("the keys that a run selects", () => {
  const inDays = (days: number) => new Date(NOW + days * DAY).toISOString();
  const lastCheck = { verdict: "invalid" } as KeyRecord["lastCheck"];
  const rows = [
    row("user-0", 10 * DAY, { generation: 1, expiresAt: inDays(40) }),
    row("user-1", 90 * DAY, { generation: 1, expiresAt: inDays(-1) }),
    row("user-2", 60 * DAY, { generation: 1, expiresAt: inDays(14), lastCheck }),
    row("user-3", 60 * DAY - 1, { generation: 1, expiresAt: "next spring" }),
  ];

  it.each([
    ["no filter, with users who have no key", {}, [0, 1, 2, 3, 4]],
    ["an age", { olderThanMs: 60 * DAY }, [1, 2]],
    ["an expiry, with keys that have expired", { expiresWithinMs: 14 * DAY }, [1, 2]],
    ["a verdict", { verdict: "invalid" }, [2]],
    ["several filters, which all apply", { olderThanMs: 80 * DAY, expiresWithinMs: 14 * DAY }, [1]],
    ["a filter that no key meets", { olderThanMs: 900 * DAY }, []],
  ] as const)("by %s", async (_, filter, expected) => {
    const { given } = await run(usersOf(5), { filter, rotateOne: async (user) => done(user) }, rows);
    expect(given.map(numberOf)).toEqual(expected);
  });
});

describe("the end of a run", () => {
  it("comes after so many failures", async () => {
    const rotateOne = ending((n) => (n % 2 === 0 ? null : "CONFLICT"));
    const { rotated, code } = await run(usersOf(30), { maxFailures: { count: 2 }, rotateOne });
    expect([rotated.length, code]).toEqual([4, "SOME_FAILED"]);
  });

  it("comes after such a share of failures, but not before five rotations", async () => {
    const rotateOne = ending((n) => (n < 2 ? "CONFLICT" : null));
    expect((await run(usersOf(30), { maxFailures: { percent: 40 }, rotateOne })).rotated).toHaveLength(5);
    expect((await run(usersOf(30), { maxFailures: { percent: 50 }, rotateOne })).rotated).toHaveLength(30);
  });

  it.each([
    ["five of which all", (n: number) => n < 5, 5],
    ["more than half of which", (n: number) => n >= 10, 21],
  ])("comes after new keys, %s are refused", async (_, isRefused, expected) => {
    const rotateOne = ending((n) => (isRefused(n) ? "NEW_KEY_REFUSED" : null));
    const { rotated, code } = await run(usersOf(60), { rotateOne });
    expect([rotated.length, code]).toEqual([expected, "SOME_FAILED"]);
  });

  it.each([
    ["four new keys", (n: number) => n < 4],
    ["exactly half of them", (n: number) => n % 2 === 1],
  ])("does not come where %s are refused", async (_, isRefused) => {
    const rotateOne = ending((n) => (isRefused(n) ? "NEW_KEY_REFUSED" : null));
    expect((await run(usersOf(30), { rotateOne })).code).toBeUndefined();
  });

  it("comes at once where a failure concerns all users", async () => {
    const rotateOne = ending((n) => (n === 3 ? "MANAGEMENT_KEY_REFUSED" : null));
    const { given, rotated, code } = await run(usersOf(30), { rotateOne });
    expect([given.length, rotated.length, code]).toEqual([3, 4, "MANAGEMENT_KEY_REFUSED"]);
  });

  it("lets nobody begin who waits for the pace at a stop", async () => {
    const stop = new AbortController();
    const rotateOne = async (user: UserId) => {
      stop.abort();
      return done(user);
    };
    const { rotated } = await run(usersOf(30), { rotateOne, stop: stop.signal, ratePerSecond: 20, concurrency: 8 });
    expect(rotated).toEqual([parseUserId("user-0")]);
  });

  it("lets nobody begin who waits for the pace when too many have failed", async () => {
    const bounds = { maxFailures: { count: 1 }, ratePerSecond: 20, concurrency: 8 };
    expect((await run(usersOf(30), { rotateOne: ending(() => "CONFLICT"), ...bounds })).rotated).toHaveLength(1);
  });
});

describe("a run", () => {
  it("gives results in the order of the users, whoever is ready first", async () => {
    const { given } = await run(usersOf(35), { rotateOne: afterAWhile, concurrency: 10 });
    expect(given).toEqual(usersOf(35));
  });

  it("begins no more than so many a second over the whole run", async () => {
    const begun: number[] = [];
    const rotateOne = async (user: UserId) => {
      begun.push(performance.now());
      return done(user);
    };
    await run(usersOf(25), { rotateOne, ratePerSecond: 100, concurrency: 20 });
    expect((begun.at(-1) ?? 0) - (begun[0] ?? 0)).toBeGreaterThanOrEqual(230);
  });

  it("rotates no more keys than it may, and does not count those that were not touched", async () => {
    const rotateOne = ending((n) => (n === 0 ? "FOREIGN_KEY" : n === 1 ? "KEY_INVALID" : null));
    const { results, rotated } = await run(usersOf(12), { rotateOne, budget: new KeyBudget(3) });
    expect(rotated).toHaveLength(5);
    expect(results.filter(({ error }) => error?.code === "PROVISION_CAP")).toHaveLength(7);
  });

  it("previews the same keys", async () => {
    const previewOne = async (user: UserId) =>
      user === alice
        ? rotatePreviewFailed(user, new KeyctlError("FOREIGN_KEY", "not ours"))
        : NO_BOUNDS.previewOne(user);
    const task = { filter: {}, budget: new KeyBudget(2), newSignal: NO_BOUNDS.newSignal, previewOne };
    const previews: RotatePreview[] = [];
    for await (const batch of previewRotateMany(inBatches([alice, ...usersOf(3)]), holding([]), task)) {
      previews.push(...batch);
    }
    expect(previews.map(({ action, error }) => error?.code ?? action)).toEqual([
      "FOREIGN_KEY",
      "rotate",
      "rotate",
      "PROVISION_CAP",
    ]);
  });
});
