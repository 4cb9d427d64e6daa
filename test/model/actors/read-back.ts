import type { Row, RowContent, Version } from "../accesses.ts";
import { doing, to, UNSURE } from "../step.ts";
import type { Moves, Place, Step } from "../step.ts";

/**
 * A change of a row without an answer is read back, and never sent again. If the row is unchanged, the change may still
 * happen. Any other state shows that the change has happened, or can no longer happen.
 */
interface Looking {
  readonly seen: Version;
  readonly content: Pick<RowContent, "generation" | "hash">;
  readonly done: Moves;
  readonly lost: Moves;
}

/** `content`: the content of the row after the change. */
export function lookForReplacement(looking: Looking): Place {
  return to(readReplaced, looking);
}

export function lookForRemoval({ seen, done, lost }: Omit<Looking, "content">): Place {
  return to(readRemoved, { seen, done, lost });
}

function readReplaced({ seen, content, done, lost }: Looking): Step {
  return doing({ access: "row.find" }, (row) => {
    if (row?.version === seen) return UNSURE;
    return row !== null && holds(row, content) ? done : lost;
  });
}

/**
 * If the row was changed in the meantime, it was not and will not be removed. Another row in its place proves the
 * removal.
 */
function readRemoved({ seen, done, lost }: Omit<Looking, "content">): Step {
  return doing({ access: "row.find" }, (row) => {
    if (row?.version === seen) return UNSURE;
    return row !== null && isSameRow(seen, row.version) ? lost : done;
  });
}

/**
 * Compares the `_id`, the part of a recorded version before the revision. The explorer has no `_id`s; its versions tell
 * whether the row was revised or removed since it was read.
 */
function isSameRow(seen: Version, now: Version): boolean {
  return seen.startsWith("revised|") || (!seen.startsWith("gone|") && seen.split("/")[0] === now.split("/")[0]);
}

function holds(row: Row, { generation, hash }: Looking["content"]): boolean {
  return row.generation === generation && row.hash === hash;
}
