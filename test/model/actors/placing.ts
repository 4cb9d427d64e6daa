import type { Hash, Previous, Row, RowContent } from "../accesses.ts";
import type { Command } from "../command.ts";
import { plainRow, retiringPredecessor, settledRow } from "./predecessor.ts";
import { detachTooEarly, removing } from "./removal.ts";
import { attachTooLate } from "./rotate.ts";
import { startOver, revert } from "./settle.ts";
import { spoolOwn } from "./spool.ts";
import { doing, ended, to } from "../step.ts";
import type { Move, Moves, Place, Step } from "../step.ts";

/**
 * STORE ROW, RECORD OUTCOME and SETTLE, shared with rotate and the import of a spooled key. **Order:** the row, then
 * its outcome.
 */
export interface Placing {
  readonly generation: number;
  readonly hash: Hash;
  /** The key that the row of a rotation replaces. */
  readonly replaced: Previous | null;
  /** The keys whose grace a rotation has ended, deleted together with the replaced key. */
  readonly retiringToo: readonly Hash[];
  readonly won: Move;
  readonly lost: Move;
  /** The action if the store is away: write a spool file, give a claimed file back, or (rotation) keep the old key. */
  readonly whenAway: "spool" | "release" | "leave";
}

export function place({ generation, hash }: Pick<Placing, "generation" | "hash">): Place {
  const won = ended("made the key", hash);
  const nothing = { replaced: null, retiringToo: [] };
  return to(insertOwn, { generation, hash, ...nothing, won, lost: startOver(), whenAway: "spool" });
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

/** RECORD OUTCOME: no key is handed out before this. For a rotation it is the commit. */
export function saveOutcome(memory: Placed, command: Command): Step {
  const { won, generation, hash } = memory;
  return doing(
    { access: "journal.insert out", generation, outcome: { saved: hash } },
    (stands) => {
      if (stands === "abandoned") return to(undoRow, memory);
      const after = retiring({ ...memory, after: won }, command);
      return command.breach === "attach-late" && command.kind === "rotate" ? to(attachTooLate, { hash, after }) : after;
    },
    () => spoolOwn(memory, { sent: true }),
  );
}

/** The generation was abandoned while its row was in place. **Order:** revert the row, then remove the key. */
function undoRow({ row, hash, lost }: Placed, command: Command): Step {
  return revert(row, command, removing([hash], lost));
}

/** The generation is abandoned before its key is deleted: after that, no actor that read its row can save it. */
export function refuseOwn(own: Placing, command: Command): Step {
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

interface Retiring extends Pick<Placing, "replaced" | "retiringToo"> {
  readonly row: Row;
  readonly after: Move;
}

/**
 * The new row is current. **Order:** record the replaced key's retirement, revoke the key, drop the note. A key with a
 * grace keeps its limit, its guardrails and its place in the allow-lists.
 */
export function retiring({ row, replaced, retiringToo, after }: Retiring, command: Command): Moves {
  const settles = to(settleOwn, { row, after });
  if (replaced === null) return removing(retiringToo, settles);
  const early =
    command.breach === "detach-early" ? to(detachTooEarly, { hash: replaced.hash, after: settles }) : settles;
  const revoked = replaced.graceMs === null && replaced.revoke ? [replaced.hash] : [];
  return retiringPredecessor(replaced, removing([...revoked, ...retiringToo], early), command);
}

/** SETTLE, by the owner. A lost write is harmless. */
function settleOwn({ row, after }: Pick<Retiring, "row" | "after">): Step {
  const next = () => after;
  return doing({ access: "row.replace", row: settledRow(row), seen: row.version }, next, next);
}
