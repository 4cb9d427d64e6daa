import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { KeyctlError } from "../../../src/core/errors.ts";
import { createMissing } from "../../../src/core/resolve/create-missing.ts";
import { syncFailed } from "../../../src/core/results.ts";
import type { SyncResult } from "../../../src/core/results.ts";

const NO_KEY = new KeyctlError("NO_KEY", "no key");
/** What a user ends with who is resolved alone: the error code is all that these tests look at. */
const REFUSED = new KeyctlError("PROVISION_CAP", "no more this hour");
const INTERRUPTED = new KeyctlError("INTERRUPTED", "interrupted");

function batchOf(count: number): readonly SyncResult[] {
  return Array.from({ length: count }, (_, index) => syncFailed(`user-${index}`, NO_KEY));
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
      createMissing(batch, async (user) => {
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
      createMissing(batchOf(50), async (user) => {
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

  it("throws a bug, too", async () => {
    const bug = new TypeError("no such thing");
    const { thrown } = await drained(createMissing(batchOf(3), () => Promise.reject(bug)));
    expect(thrown).toBe(bug);
  });

  it("are not begun any more when nobody asks", async () => {
    const asked: string[] = [];
    const results = createMissing(batchOf(100), async (user) => {
      asked.push(user);
      await sleep(2);
      return syncFailed(user, REFUSED);
    });
    for await (const _ of results) break;
    const begun = asked.length;
    await sleep(50);
    expect(asked).toHaveLength(begun);
  });
});
