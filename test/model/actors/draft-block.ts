import type { Command } from "../command.ts";
import { doing, to } from "../step.ts";
import type { Moves, Place, Step } from "../step.ts";

/**
 * Broken variants: the block is a record in place of a tombstone, and commands look for it. No moment is right: before
 * the operation ("j-before"), the block may come later; after RECORD OUTCOME ("j-late"), the key is current already; and
 * between STORE ROW and RECORD OUTCOME ("j-draft"), another command may read the row and confirm it.
 */
const MOMENTS = {
  "before the operation": ["j-before", "j-draft", "j-late"],
  "before the own outcome": ["j-draft"],
  "before another's outcome": ["j-before", "j-late"],
  "after the own outcome": ["j-late"],
} as const;

interface Looking {
  readonly free: Moves;
  readonly blocked: Moves;
}

export function unlessBlocked(moment: keyof typeof MOMENTS, { free, blocked }: Looking, { breach }: Command): Moves {
  return MOMENTS[moment].some((one) => one === breach) ? to(lookForBlock, { free, blocked }) : free;
}

function lookForBlock({ free, blocked }: Looking): Step {
  return doing({ access: "journal.read block" }, (block) => (block === null ? free : blocked));
}

/** Whether this purge records its block. */
export function isDraft({ block, breach }: Pick<Command, "block" | "breach">): boolean {
  return block && MOMENTS["before the operation"].some((one) => one === breach);
}

export function recordBlock({ after }: { readonly after: Place }): Step {
  return doing({ access: "journal.insert block" }, () => after);
}
