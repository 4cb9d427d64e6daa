import { expect, it } from "vitest";
import { batched } from "../../../src/core/async/batched.ts";

async function* upTo(count: number): AsyncGenerator<number> {
  for (let next = 1; next <= count; next += 1) yield next;
}

it.each([
  [0, []],
  [1, [[1]]],
  [
    4,
    [
      [1, 2],
      [3, 4],
    ],
  ],
  [5, [[1, 2], [3, 4], [5]]],
])("groups %d by two", async (count, groups) => {
  const given: (readonly number[])[] = [];
  for await (const group of batched(upTo(count), 2)) given.push(group);
  expect(given).toEqual(groups);
});
