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

export function lookForRemoval({ seen, done, lost }: Omit<Looking, "content">): Place {
  return to(readRemoved, { seen, done, lost });
}

function readReplaced({ seen, content, done, lost }: Looking): Step {
  return doing({ access: "row.find" }, (row) => {
    if (row?.version === seen) return UNSURE;
    return row !== null && holds(row, content) ? done : lost;
  });
}

/** A row that was changed in the meantime was not removed, and will not be; any other in its place says that it was. */
function readRemoved({ seen, done, lost }: Omit<Looking, "content">): Step {
  return doing({ access: "row.find" }, (row) => {
    if (row?.version === seen) return UNSURE;
    return row !== null && isSameRow(seen, row.version) ? lost : done;
  });
}

/**
 * By its `_id`: what stands before the revision in a recorded version. The explorer keeps no `_id`s, but says of a version
 * that was read what became of its row since.
 */
function isSameRow(seen: Version, now: Version): boolean {
  return seen.startsWith("revised|") || (!seen.startsWith("gone|") && seen.split("/")[0] === now.split("/")[0]);
}

function holds(row: Row, { generation, hash }: Looking["content"]): boolean {
  return row.generation === generation && row.hash === hash;
}
