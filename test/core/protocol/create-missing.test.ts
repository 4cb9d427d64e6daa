import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { KeyctlError } from "../../../src/core/model/errors.ts";
import { createMissing } from "../../../src/core/protocol/create-missing.ts";
import { KeyBudget } from "../../../src/core/protocol/key-budget.ts";
import { syncFailed } from "../../../src/core/model/results.ts";
import type { SyncResult } from "../../../src/core/model/results.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import type { UserId } from "../../../src/core/model/user-id.ts";

const NO_KEY = new KeyctlError("NO_KEY", "no key");
const UNAVAILABLE = new KeyctlError("PROVIDER_UNAVAILABLE", "nobody answered", { mayHaveHappened: true });
/** What a user ends with who is resolved alone: the error code is all that these tests look at. */
const REFUSED = new KeyctlError("PROVISION_CAP", "no more this hour");
const AWAY = new KeyctlError("STORE_UNAVAILABLE", "it went away");
const INTERRUPTED = new KeyctlError("INTERRUPTED", "interrupted");

function batchOf(count: number): readonly SyncResult[] {
  return Array.from({ length: count }, (_, index) => syncFailed(`user-${index}`, NO_KEY));
}

/** The keys of a batch of which those with NO_KEY are to be created, `max` at most. */
function creating(
  batch: readonly SyncResult[],
  create: (user: UserId) => Promise<SyncResult>,
  max = Number.POSITIVE_INFINITY,
  stop?: AbortSignal,
) {
  return createMissing(
    batch.map((result) => ({
      userId: parseUserId(result.userId),
      known: result.error === NO_KEY ? undefined : result,
    })),
    {
      create,
      isCreated: () => true,
      refuse: syncFailed,
      budget: new KeyBudget(max),
      concurrency: 8,
      stop,
    },
  );
}

function numberOf(user: string): number {
  return Number(user.slice("user-".length));
}

/** What is given, a batch at a time, and what is thrown in the end. */
async function drained(results: AsyncIterable<readonly SyncResult[]>) {
  const given: string[][] = [];
  try {
    for await (const batch of results) given.push(batch.map(({ userId }) => userId));
  } catch (thrown) {
    return { given, thrown };
  }
  return { given, thrown: undefined };
}

describe("users without a key", () => {
  it("are given as they come, in order, with those who have one", async () => {
    const batch = batchOf(20).with(3, syncFailed("user-3", REFUSED));
    const asked: string[] = [];
    const { given, thrown } = await drained(
      creating(batch, async (user) => {
        asked.push(user);
        await sleep(user === "user-1" ? 60 : 2);
        return syncFailed(user, REFUSED);
      }),
    );
    expect(thrown).toBeUndefined();
    expect(given[0]).toEqual(["user-0"]);
    expect(given.flat()).toEqual(batch.map(({ userId }) => userId));
    expect(asked).not.toContain("user-3");
    expect(asked).toHaveLength(19);
  });

  it("are given, if they are done, before what fails for all is thrown; no other one is begun", async () => {
    const asked: string[] = [];
    const { given, thrown } = await drained(
      creating(batchOf(50), async (user) => {
        asked.push(user);
        await sleep(numberOf(user) === 10 ? 20 : 5);
        return syncFailed(user, numberOf(user) >= 10 && numberOf(user) < 13 ? INTERRUPTED : REFUSED);
      }),
    );
    expect(thrown).toBe(INTERRUPTED);
    const done = asked.filter((user) => numberOf(user) < 10 || numberOf(user) >= 13);
    expect(given.flat()).toEqual(done.toSorted((a, b) => numberOf(a) - numberOf(b)));
    expect(asked.length).toBeLessThan(30);
  });

  it("are given where the store failed, before that is thrown: a key may wait for it", async () => {
    const { given, thrown } = await drained(
      creating(batchOf(50), async (user) => {
        await sleep(5);
        return syncFailed(user, numberOf(user) >= 8 ? AWAY : REFUSED);
      }),
    );
    expect(thrown).toBe(AWAY);
    expect(given.flat()).toEqual(Array.from({ length: 16 }, (_, index) => `user-${index}`));
  });

  it.each([1, 100])(
    "are not begun any more once it is to stop; those in flight are ended, within %d keys",
    async (max) => {
      const stop = new AbortController();
      const asked: string[] = [];
      const { given, thrown } = await drained(
        creating(
          batchOf(30).with(29, syncFailed("user-29", REFUSED)),
          async (user) => {
            asked.push(user);
            await sleep(10);
            stop.abort();
            return syncFailed(user, max === 1 ? NO_KEY : REFUSED);
          },
          max,
          stop.signal,
        ),
      );
      expect([thrown, given.flat()]).toEqual([undefined, [...asked, "user-29"]]);
      expect(asked).toHaveLength(Math.min(max, 8));
    },
  );

  it("throws a bug, too", async () => {
    const bug = new TypeError("no such thing");
    const { thrown } = await drained(creating(batchOf(3), () => Promise.reject(bug)));
    expect(thrown).toBe(bug);
  });

  it("are not begun any more when nobody asks", async () => {
    const asked: string[] = [];
    const results = creating(batchOf(100), async (user) => {
      asked.push(user);
      await sleep(2);
      return syncFailed(user, REFUSED);
    });
    for await (const _ of results) break;
    const begun = asked.length;
    await sleep(50);
    expect(asked).toHaveLength(begun);
  });

  it.each([0, 1, 7, 8, 9, 20])("are no more than the budget of %d, and as many", async (max) => {
    let created = 0;
    const codes: (string | undefined)[] = [];
    const results = creating(
      batchOf(20),
      async (user) => {
        await sleep(numberOf(user) % 3);
        // Every other one turns out to need none.
        if (numberOf(user) % 2 === 1) return syncFailed(user, NO_KEY);
        created += 1;
        return syncFailed(user, UNAVAILABLE);
      },
      max,
    );
    for await (const batch of results) codes.push(...batch.map(({ error }) => error?.code));
    expect(codes).toHaveLength(20);
    expect(created).toBe(Math.min(max, 10));
    expect(codes.filter((code) => code === "PROVIDER_UNAVAILABLE")).toHaveLength(created);
    expect(codes.includes("PROVISION_CAP")).toBe(max < 10);
  });
});
