import type { Context } from "../context.ts";
import type { GivenKey } from "../protocol/given-key.ts";
import type { Candidates } from "./source-candidates.ts";

/** The sources, and the journal's entry of the winning key, which may be stored; null without a winner. */
export interface Usable {
  readonly candidates: Candidates;
  readonly given: GivenKey | null;
}

/**
 * The first source whose key may be stored wins; a key that is marked for deletion at OpenRouter is skipped. One query
 * for each distinct key, however many users there are. The journal is not asked if a source that fails ends the search.
 */
export async function usableOf(
  candidates: Candidates,
  { journal }: Pick<Context, "journal">,
  signal: AbortSignal,
): Promise<Usable> {
  const { winner, failure } = candidates;
  if (winner === undefined || failure !== null) return { candidates, given: null };
  const { lookUpGiven } = await import("../protocol/given-key.ts");
  const given = await lookUpGiven(winner.key, journal, signal);
  return given.kind === "owed"
    ? usableOf(candidates.withOwed(winner.name), { journal }, signal)
    : { candidates, given };
}
