import type { Listed, Outcome } from "../accesses.ts";
import type { Command } from "../command.ts";
import { retiringPredecessor } from "./predecessor.ts";
import { lookForRemoval } from "./read-back.ts";
import { removing } from "./removal.ts";
import { revert } from "./settle.ts";
import { doing, to } from "../step.ts";
import type { Holding, Moves, Step } from "../step.ts";

/**
 * A key that is marked for deletion, shared by reconcile and finish. **Order:** a row that still holds the key is
 * removed before the key is deleted.
 */
interface Owed {
  readonly key: Listed;
  readonly after: Moves;
}

interface OwedInRow extends Owed, Holding {}

export function revokeOwed(memory: Owed, command: Command): Step {
  const { key, after } = memory;
  return doing({ access: "row.find" }, (row) => {
    if (row?.generation === key.generation || (row?.generation === 0 && row.hash === key.hash)) {
      return withoutNote({ ...memory, row }, command);
    }
    const undecided = row !== null && row.generation > 0 && !row.settled && row.previous?.generation === key.generation;
    return undecided ? to(readSuccessor, { ...memory, row }) : removing([key.hash], after);
  });
}

/** REVOKE PREDECESSOR precedes every removal of a row: else the row's note about its predecessor is lost. */
function withoutNote(memory: OwedInRow, command: Command): Moves {
  const removal = to(removeOwed, memory);
  return command.breach === "owed-drops-note" ? removal : retiringPredecessor(memory.row.previous, removal, command);
}

function removeOwed({ row, key, after }: OwedInRow): Step {
  const again = to(revokeOwed, { key, after });
  return doing({ access: "row.remove", seen: row.version }, ({ answer }) =>
    answer === "unanswered" ? lookForRemoval({ seen: row.version, done: again, lost: again }) : again,
  );
}

/** The row may still be reverted to this key. RECORD OUTCOME decides, as for every actor that reads the row. */
function readSuccessor(memory: OwedInRow): Step {
  return doing({ access: "journal.read out", generation: memory.row.generation }, (outcome) =>
    outcome === null ? to(helpSuccessor, memory) : successorDecided(memory, outcome),
  );
}

function helpSuccessor(memory: OwedInRow): Step {
  const { row } = memory;
  return doing({ access: "journal.insert out", generation: row.generation, outcome: { saved: row.hash } }, (stands) =>
    successorDecided(memory, stands),
  );
}

function successorDecided(memory: OwedInRow, outcome: Outcome): Moves {
  const { key, after } = memory;
  return outcome === "abandoned" ? to(revertSuccessor, memory) : removing([key.hash], after);
}

function revertSuccessor({ row, key, after }: OwedInRow, command: Command): Step {
  return revert(row, command, to(revokeOwed, { key, after }));
}
