import { describe, expect, it } from "vitest";
import { explorationOf, titleOf } from "./explorer/configuration.ts";
import type { Configuration } from "./explorer/configuration.ts";
import { explore } from "./explorer/explore.ts";
import { told } from "./explorer/history.ts";
import { BREACHES, PLAINER, SMALL, SPLIT } from "./tables.ts";

/** The first violated invariant, with the history that shows the violation. */
function caught(configuration: Configuration) {
  const [[invariant, violation] = []] = explore(explorationOf(configuration)).violations;
  return { invariant, history: violation === undefined ? [] : told(violation.history) };
}

describe("every interleaving of", () => {
  it.each(SMALL.map((row) => [titleOf(row), row] as const))("%s: all hold", (_, configuration) => {
    const { states, violations } = explore(explorationOf(configuration));
    expect([...violations.values()].map(({ text, history }) => [text, ...told(history)])).toEqual([]);
    expect(states).toBeGreaterThan(100);
  });
});

describe("the check notices a rule that is left out", () => {
  it.each(BREACHES)("variant %s: caught (%s)", (breach, invariant, configuration) => {
    const { invariant: found, history } = caught({ ...configuration, breach });
    expect(found, history.join("\n")).toBe(invariant);
    expect(history.length).toBeGreaterThan(0);
  });

  it("without reading the row again after the journal, a paid operation is opened beside a current key, and nothing worse", () => {
    const { violations, wasteful } = explore(explorationOf({ actors: "sync,sync", faults: 0, breach: "no-reread" }));
    expect([violations.size, wasteful > 0]).toEqual([0, true]);
    expect(explore(explorationOf({ actors: "sync,sync", faults: 0 })).wasteful).toBe(0);
  });
});

describe("a protocol that decides in the journal and then writes the row", () => {
  it.each(PLAINER.map(([invariant, row]) => [row.protocol, titleOf(row), invariant, row] as const))(
    "%s, %s: caught (%s)",
    (_protocol, _title, invariant, configuration) => {
      const { invariant: found, history } = caught(configuration);
      expect(found, history.join("\n")).toBe(invariant);
    },
  );
});

describe("a compare-and-set that reads and then writes", () => {
  it.each(SPLIT.map(([invariants, row]) => [titleOf(row), invariants, row] as const))(
    "%s: loses %s",
    (_, invariants, configuration) => {
      const { violations } = explore({ ...explorationOf(configuration), all: true });
      expect([...violations.keys()]).toEqual(expect.arrayContaining([...invariants]));
      // I5 and I6 hold even on such a store.
      expect([violations.has("I5"), violations.has("I6")]).toEqual([false, false]);
    },
  );
});
