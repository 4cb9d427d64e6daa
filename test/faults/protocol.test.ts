import { describe, expect, it } from "vitest";
import { explorationOf, titleOf } from "../model/explorer/configuration.ts";
import { explore } from "../model/explorer/explore.ts";
import { told } from "../model/explorer/history.ts";
import { LARGE } from "../model/tables.ts";

/** The rest of the model check: millions of states, a minute or two. The small ones are checked with every `npm test`. */
describe("every interleaving of", () => {
  it.each(LARGE.map((row) => [titleOf(row), row] as const))("%s: all hold", (title, configuration) => {
    const { states, violations } = explore(explorationOf(configuration));
    console.log(`${title}: ${states.toLocaleString("en")} states`);
    expect([...violations.values()].map(({ text, history }) => [text, ...told(history)])).toEqual([]);
    expect(states).toBeGreaterThan(1_000);
  });
});
