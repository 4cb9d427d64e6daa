import { setTimeout as later } from "node:timers/promises";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { inOrder } from "../../../src/core/async/in-order.ts";

async function* from<Item>(items: readonly Item[], failure?: Error): AsyncGenerator<Item> {
  yield* items;
  if (failure !== undefined) throw failure;
}

/** What it yields, and what it throws. */
async function drained<Result>(results: AsyncIterable<Result>): Promise<readonly [readonly Result[], unknown]> {
  const all: Result[] = [];
  try {
    for await (const result of results) all.push(result);
    return [all, undefined];
  } catch (thrown) {
    return [all, thrown];
  }
}

describe("work in order", () => {
  it("gives every result in the order of the items, with no more at once than allowed", async () => {
    const delays = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(delays, fc.integer({ min: 1, max: 4 }), async (items, atOnce) => {
        let [active, most] = [0, 0];
        const work = async (delay: number) => {
          most = Math.max(most, (active += 1));
          await later(delay);
          active -= 1;
          return delay;
        };
        expect(await drained(inOrder(from(items), atOnce, work))).toEqual([items, undefined]);
        expect(most).toBeLessThanOrEqual(atOnce);
      }),
      { numRuns: 30 },
    );
  });

  it("gives what is under way when an item cannot be had, and then throws that", async () => {
    const failure = new Error("no more");
    const results = inOrder(from([1, 2, 3], failure), 10, (item) => later(5, item));
    expect(await drained(results)).toEqual([[1, 2, 3], failure]);
  });

  it("gives what is under way beside work that rejects, and then throws that", async () => {
    const failure = new Error("a bug");
    const work = async (item: number) => {
      if (item === 2) throw failure;
      return later(5, item);
    };
    expect(await drained(inOrder(from([1, 2, 3]), 10, work))).toEqual([[1, 3], failure]);
    expect(await drained(inOrder(from([1, 2, 3]), 1, work))).toEqual([[1], failure]);
  });
});
