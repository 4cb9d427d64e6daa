import type { Listed } from "../accesses.ts";
import type { Command } from "../command.ts";
import { leaving } from "./block.ts";
import { retiringPredecessor } from "./predecessor.ts";
import { removing } from "./removal.ts";
import { confirmingOutcome } from "./settle.ts";
import { doing, to } from "../step.ts";
import type { Holding, Moves, Place, Step } from "../step.ts";

/**
 * A key that is marked for deletion, shared by reconcile and finish. **Order:** a row that still holds the key is
 * removed before the key is deleted.
 */
interface Owed {
  readonly key: Listed;
  /** A purge was to leave a tombstone in place of this key. */
  readonly blocks: boolean;
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
    const removal = removing([key.hash], after);
    // The row may still be reverted to this key. RECORD OUTCOME decides, as for every actor that reads the row.
    return undecided ? confirmingOutcome(row, { saved: removal, reverted: to(revokeOwed, memory) }) : removal;
  });
}

/** REVOKE PREDECESSOR precedes every removal of a row: else the row's note about its predecessor is lost. */
function withoutNote(memory: OwedInRow, command: Command): Moves {
  const removal = removingOwed(memory, command);
  return command.breach === "owed-drops-note" ? removal : retiringPredecessor(memory.row, removal, command);
}

function removingOwed({ row, ...owed }: OwedInRow, command: Command): Place {
  const again = to(revokeOwed, owed);
  const blocks = owed.blocks && row.generation === owed.key.generation;
  return leaving({ row, blocks, done: again, lost: again }, command);
}
