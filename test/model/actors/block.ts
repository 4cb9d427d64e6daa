import type { Row, RowContent } from "../accesses.ts";
import type { Command } from "../command.ts";
import { plainRow } from "./predecessor.ts";
import { lookForRemoval, lookForReplacement } from "./read-back.ts";
import { startOver } from "./settle.ts";
import { doing, to, UNSURE } from "../step.ts";
import type { Holding, Moves, Place, Step } from "../step.ts";

/**
 * The tombstone of a blocked user: a row that holds no key. Whatever makes a key current inserts the row if it is absent
 * or replaces the row that was read, so nobody has to look for a block.
 */
export const TOMBSTONE: RowContent = { ...plainRow({ generation: 0, hash: "" }), blocked: true };

interface Leaving extends Holding {
  /** A tombstone takes the place of the row. */
  readonly blocks: boolean;
  readonly done: Moves;
  readonly lost: Moves;
}

/**
 * A purged row leaves, for the command that purges or for one that finishes an interrupted purge. Where a compare-and-set
 * reads and then writes, another write would land on the tombstone: there the row is removed, and only the purge itself
 * inserts a tombstone. A command that finishes it could do so after an unblock that found no row.
 */
export function leaving({ blocks, ...memory }: Leaving, { split, breach }: Command): Place {
  const { done } = memory;
  if (blocks && (!split || breach === "tomb-replace")) return to(replaceWithTombstone, memory);
  const inserts = blocks && breach === "repair-inserts";
  return to(removePurged, inserts ? { ...memory, done: to(insertTombstone, { after: done }) } : memory);
}

function replaceWithTombstone({ row, done, lost }: Omit<Leaving, "blocks">): Step {
  const { version: seen } = row;
  return doing({ access: "row.replace", row: TOMBSTONE, seen }, ({ answer }) => {
    if (answer === "unanswered") return lookForReplacement({ seen, content: TOMBSTONE, done, lost });
    return answer === "done" ? done : lost;
  });
}

function removePurged({ row, done, lost }: Omit<Leaving, "blocks">): Step {
  const { version: seen } = row;
  return doing({ access: "row.remove", seen }, ({ answer }) => {
    if (answer === "unanswered") return lookForRemoval({ seen, done, lost });
    return answer === "done" ? done : lost;
  });
}

interface Blocking {
  readonly after: Moves;
}

/** For a user without a row. */
export function insertTombstone({ after }: Blocking): Step {
  return doing({ access: "row.insert", row: TOMBSTONE }, ({ answer }) => {
    if (answer === "unanswered") return to(readTombstoneBack, { after });
    return answer === "done" ? after : startOver();
  });
}

/** The insert is never sent again: without a row, the first insert may still be applied. */
function readTombstoneBack({ after }: Blocking): Step {
  return doing({ access: "row.find" }, (row) => {
    if (row === null) return UNSURE;
    return isTombstone(row) ? after : startOver();
  });
}

export function isTombstone({ blocked }: Pick<Row, "blocked">): boolean {
  return blocked === true;
}
