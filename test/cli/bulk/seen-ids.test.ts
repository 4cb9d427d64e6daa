import { array, assert, property, string } from "fast-check";
import { describe, expect, it } from "vitest";
import { SeenIds } from "../../../src/cli/bulk/seen-ids.ts";
import { collectGarbage } from "../../support/programs/garbage.ts";

describe("the ids that were seen", () => {
  it("are told from all others, in any order", () => {
    assert(
      property(array(string({ maxLength: 3 }), { maxLength: 300 }), (ids) => {
        const seen = new SeenIds();
        const known = new Set<string>();
        for (const id of ids) {
          expect(seen.add(id)).toBe(!known.has(id));
          known.add(id);
        }
      }),
    );
  });

  it("take less than 40 bytes each, however long they are", { timeout: 60_000 }, async () => {
    const count = 500_000;
    const before = await collectGarbage();
    const seen = new SeenIds();
    for (let index = 0; index < count; index += 1) seen.add(`${"a long user id, ".repeat(6)}${index}`);
    const after = await collectGarbage();
    expect([seen.add(`${"a long user id, ".repeat(6)}7`), seen.add("new")]).toEqual([false, true]);
    const grown = after.heapUsed - before.heapUsed + after.arrayBuffers - before.arrayBuffers;
    expect(grown / count).toBeLessThan(40);
  });
});
