import type { Hash, Row, RowContent } from "../accesses.ts";
import type { Command } from "../command.ts";
import { unlessBlocked } from "./draft-block.ts";
import { handingOut } from "./last-look.ts";
import { plainRow, settledRow } from "./predecessor.ts";
import { removing } from "./removal.ts";
import { startOver, revert } from "./settle.ts";
import { spoolOwn } from "./spool.ts";
import { doing, ended, to } from "../step.ts";
import type { Move, Moves, Place, Step } from "../step.ts";

/**
 * STORE ROW, RECORD OUTCOME and SETTLE, shared with the import of a spooled key. **Order:** the row, then its outcome.
 */
export interface Placing {
  readonly generation: number;
  readonly hash: Hash;
  /** The key is current: SETTLE has seen it in the row, or has not. */
  readonly settled: Move;
  readonly unsettled: Move;
  readonly lost: Move;
  /** The action if the store is away: write a spool file, or give a claimed file back. */
  readonly whenAway: "spool" | "release";
}

export function place({ generation, hash }: Pick<Placing, "generation" | "hash">, command: Command): Place {
  const unsettled = handingOut({ generation, hash }, command);
  // Where a compare-and-set reads and then writes, SETTLE may have written over a row that it has not seen.
  const settled = command.split ? unsettled : ended("made the key", hash);
  return to(insertOwn, { generation, hash, settled, unsettled, lost: startOver(), whenAway: "spool" });
}

/** STORE ROW: this makes the secret durable. */
export function insertOwn(own: Placing, command: Command): Step {
  const row: RowContent = { ...plainRow(own), settled: false };
  return doing(
    { access: "row.insert", row },
    (written) => {
      if (written.answer === "done") return deciding({ ...own, row: { ...row, version: written.version } }, command);
      if (written.answer === "unanswered" && command.breach === "blind-resend") return to(insertOwn, own);
      return to(readOwnBack, own);
    },
    () => spoolOwn(own, { sent: false }),
  );
}

/** After a refused or unanswered insert: reads whether the row is the own one. The insert is never sent again. */
export function readOwnBack(own: Placing, command: Command): Step {
  return doing(
    { access: "row.find" },
    (row) => {
      if (row !== null && command.breach === "own-row-is-foreign") return to(refuseOwn, own);
      return row?.generation === own.generation && row.hash === own.hash
        ? deciding({ ...own, row }, command)
        : to(refuseOwn, own);
    },
    () => spoolOwn(own, { sent: true }),
  );
}

interface Placed extends Placing {
  readonly row: Row;
}

function deciding(memory: Placed, command: Command): Moves {
  const moves = { free: to(saveOutcome, memory), blocked: to(refuseOwn, memory) };
  return unlessBlocked("before the own outcome", moves, command);
}

/** RECORD OUTCOME: no key is handed out before this. */
function saveOutcome(memory: Placed, command: Command): Step {
  const { row, settled, unsettled, generation, hash } = memory;
  return doing(
    { access: "journal.insert out", generation, outcome: { saved: hash } },
    (stands) => {
      if (stands === "abandoned") return to(undoRow, memory);
      const moves = { free: to(settleOwn, { row, settled, unsettled }), blocked: to(undoRow, memory) };
      return unlessBlocked("after the own outcome", moves, command);
    },
    () => spoolOwn(memory, { sent: true }),
  );
}

/** The generation was abandoned while its row was in place. **Order:** revert the row, then remove the key. */
function undoRow({ row, hash, lost }: Placed, command: Command): Step {
  return revert(row, command, removing([hash], lost));
}

/** The generation is abandoned before its key is deleted: after that, no actor that read its row can save it. */
function refuseOwn(own: Placing, command: Command): Step {
  const { generation, hash, lost } = own;
  const foreign = command.breach === "own-row-is-foreign";
  return doing(
    { access: "journal.insert out", generation, outcome: "abandoned" },
    (stands) =>
      // Saved: another actor read the key in the row and confirmed it, so it stays.
      stands === "abandoned" || foreign ? removing([hash], lost) : lost,
    () => spoolOwn(own, { sent: true }),
  );
}

/** SETTLE, by the owner. A lost write is harmless, but it has not seen the row. */
function settleOwn({ row, settled, unsettled }: Pick<Placed, "row" | "settled" | "unsettled">): Step {
  return doing(
    { access: "row.replace", row: settledRow(row), seen: row.version },
    ({ answer }) => (answer === "done" ? settled : unsettled),
    () => unsettled,
  );
}
