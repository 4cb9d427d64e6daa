import type { Row } from "../accesses.ts";
import type { Command } from "../command.ts";
import { retiringPredecessor } from "./predecessor.ts";
import { lookForRemoval } from "./read-back.ts";
import { startOver } from "./settle.ts";
import { doing, ended, to } from "../step.ts";
import type { Holding, Move, Step } from "../step.ts";

const UNBLOCKED = ended("unblocked");
export const NOT_BLOCKED = ended("was not blocked");

/** Removes the tombstone that was read: by the user alone, it would remove a later block, or a key. */
export function liftBlock({ row }: Holding, { breach }: Command): Step {
  return breach === "unblock-by-user"
    ? doing({ access: "row.remove unseen" }, () => UNBLOCKED)
    : finishWithoutBlock({ row });
}

function finishWithoutBlock({ row: { version: seen } }: Holding): Step {
  return doing({ access: "row.remove", seen }, ({ answer }) => {
    if (answer === "unanswered") return lookForRemoval({ seen, done: UNBLOCKED, lost: startOver() });
    return answer === "done" ? UNBLOCKED : startOver();
  });
}

/**
 * The row holds a key. A purge that was to block the user may have died before it changed the row: it is finished without
 * its block, or the next reconcile blocks the user again.
 */
export function liftPendingBlock(row: Row, { breach }: Command): Move {
  return row.generation === 0 || breach === "unblock-leaves-pending" ? NOT_BLOCKED : to(readPendingPurge, { row });
}

/** REVOKE PREDECESSOR precedes every removal of a row. */
function readPendingPurge({ row }: Holding, command: Command): Step {
  return doing({ access: "journal.read rev", generation: row.generation }, (retirement) =>
    retirement?.block === true ? retiringPredecessor(row, to(finishWithoutBlock, { row }), command) : NOT_BLOCKED,
  );
}
