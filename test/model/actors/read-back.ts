import type { Row, RowContent, Version } from "../accesses.ts";
import { doing, to, UNSURE } from "../step.ts";
import type { Moves, Place, Step } from "../step.ts";

/**
 * A change of a row that nobody answered is looked for, and never sent again: a row that is still as it was seen may yet
 * change, any other shows that the change has happened, or cannot happen any more.
 */
interface Looking {
  readonly seen: Version;
  readonly content: Pick<RowContent, "generation" | "hash">;
  readonly done: Moves;
  readonly lost: Moves;
}

/** `content`: what the row holds afterwards. */
export function lookForReplacement(looking: Looking): Place {
  return to(readReplaced, looking);
}

/** `content`: what it held before. */
export function lookForRemoval(looking: Looking): Place {
  return to(readRemoved, looking);
}

function readReplaced({ seen, content, done, lost }: Looking): Step {
  return doing({ access: "row.find" }, (row) => {
    if (row?.version === seen) return UNSURE;
    return row !== null && holds(row, content) ? done : lost;
  });
}

/** Another row stands there: either way, the one that was seen is gone. */
function readRemoved({ seen, content, done, lost }: Looking): Step {
  return doing({ access: "row.find" }, (row) => {
    if (row?.version === seen) return UNSURE;
    if (row === null) return done;
    return holds(row, content) ? lost : both(done, lost);
  });
}

function holds(row: Row, { generation, hash }: Looking["content"]): boolean {
  return row.generation === generation && row.hash === hash;
}

function both(one: Moves, other: Moves): Moves {
  return [one, other].flat();
}
