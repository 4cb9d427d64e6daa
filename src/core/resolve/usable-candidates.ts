import type { Context } from "../context.ts";
import type { GivenKey } from "../protocol/given-key.ts";
import type { Candidates } from "./source-candidates.ts";

/** The sources, and what the journal says of the winner's key, which may be stored; null where there is no winner. */
export interface Usable {
  readonly candidates: Candidates;
  readonly given: GivenKey | null;
}

/**
 * The first source whose key may be stored wins: one whose key is to be deleted at OpenRouter is passed over. One query
 * for each text of a key, however many users. Nothing is asked where a source that fails ends the search.
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
