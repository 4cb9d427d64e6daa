import type { Hash, Row, RowContent } from "../accesses.ts";
import type { Command } from "../command.ts";
import { plainRow, settledRow } from "./predecessor.ts";
import { removing } from "./removal.ts";
import { startOver, revert } from "./settle.ts";
import { spoolOwn } from "./spool.ts";
import { doing, ended, to } from "../step.ts";
import type { Move, Place, Step } from "../step.ts";

/**
 * STORE ROW, RECORD OUTCOME and SETTLE, shared with the import of a spooled key. **Order:** the row, then its outcome.
 */
export interface Placing {
  readonly generation: number;
  readonly hash: Hash;
  readonly won: Move;
  readonly lost: Move;
  /** The action if the store is away: write a spool file, or give a claimed file back. */
  readonly whenAway: "spool" | "release";
}

export function place({ generation, hash }: Pick<Placing, "generation" | "hash">): Place {
  const won = ended("made the key", hash);
  return to(insertOwn, { generation, hash, won, lost: startOver(), whenAway: "spool" });
}

/** STORE ROW: this makes the secret durable. */
export function insertOwn(own: Placing, command: Command): Step {
  const row: RowContent = { ...plainRow(own), settled: false };
  return doing(
    { access: "row.insert", row },
    (written) => {
      if (written.answer === "done") return to(saveOutcome, { ...own, row: { ...row, version: written.version } });
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
        ? to(saveOutcome, { ...own, row })
        : to(refuseOwn, own);
    },
    () => spoolOwn(own, { sent: true }),
  );
}

interface Placed extends Placing {
  readonly row: Row;
}

/** RECORD OUTCOME: no key is handed out before this. */
function saveOutcome(memory: Placed): Step {
  const { row, won, generation, hash } = memory;
  return doing(
    { access: "journal.insert out", generation, outcome: { saved: hash } },
    (stands) => {
      if (stands === "abandoned") return to(undoRow, memory);
      return to(settleOwn, { row, after: won });
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

/** SETTLE, by the owner. A lost write is harmless. */
function settleOwn({ row, after }: { readonly row: Row; readonly after: Move }): Step {
  const next = () => after;
  return doing({ access: "row.replace", row: settledRow(row), seen: row.version }, next, next);
}
