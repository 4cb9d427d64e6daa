import { expect, it } from "vitest";
import { deadlineIn } from "../../../src/core/async/deadline.ts";

it("a budget runs from when it is made, and is never less than nothing", () => {
  let now = 1_000;
  const { signal } = new AbortController();
  const budget = deadlineIn(500, signal, () => now);
  const left = [0, 200, 500, 10_000].map((elapsed) => {
    now = 1_000 + elapsed;
    return budget.remainingMs();
  });
  expect(left).toEqual([500, 300, 0, 0]);
  expect(budget.signal).toBe(signal);
});
