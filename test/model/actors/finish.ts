import type { Listed, Row } from "../accesses.ts";
import type { Command } from "../command.ts";
import { isLimitWaiting, restoringLimit } from "./limit.ts";
import { revokeOwed } from "./owed.ts";
import { retiringPredecessor, settledRow } from "./predecessor.ts";
import { confirmingOutcome } from "./settle.ts";
import { bounded, doing, ended, listOf, to, UNSURE } from "../step.ts";
import type { Holding, Moves, Place, Step } from "../step.ts";

/**
 * FINISH: the keys whose grace is over, and the limits whose time has come, without a listing. **Order:** settle the
 * row, mark the key for deletion, remove a row that holds it, delete it. Any number of processes may do this at once.
 */
export function listDue(): Step {
  return doing({ access: "journal.due" }, (generations) => retiringDue(generations));
}

function retiringDue(generations: readonly number[]): Moves {
  const [generation, ...rest] = generations;
  // The index of the limits tells whether this user has one that waits.
  if (generation === undefined) return [ended("finished"), to(readRowWithLimit, {})];
  return to(readDueOutcome, { generation, after: retiringDue(rest) });
}

interface Due {
  readonly generation: number;
  readonly after: Moves;
}

function readDueOutcome({ generation, after }: Due): Step {
  return doing({ access: "journal.read out", generation }, (outcome) =>
    outcome === null || outcome === "abandoned"
      ? after
      : to(readDueMark, { key: { hash: outcome.saved, generation }, after }),
  );
}

interface Finishing {
  readonly key: Listed;
  readonly after: Moves;
}

/** A finish may have died after its mark. A mark that is older than a day is left to reconcile. */
function readDueMark(memory: Finishing): Step {
  const { key, after } = memory;
  const settles = to(settleBeforeMark, memory);
  return doing({ access: "journal.read del", generation: key.generation }, (mark) =>
    mark === null ? settles : [settles, ...listOf(after)],
  );
}

export function settleBeforeMark(memory: Finishing, command: Command): Step {
  const again = to(settleBeforeMark, memory);
  return doing({ access: "row.find" }, (row) =>
    row === null || row.settled ? to(markDue, memory) : settling(row, again, command),
  );
}

function markDue({ key, after }: Finishing): Step {
  return doing({ access: "journal.insert del", generation: key.generation }, () =>
    to(revokeOwed, { key, blocks: false, after }),
  );
}

function readRowWithLimit(_: object, command: Command): Step {
  const again = to(readRowWithLimit, {});
  const done = ended("finished");
  return doing({ access: "row.find" }, (row) => {
    if (row !== null && !row.settled) return settling(row, again, command);
    if (row === null || !isLimitWaiting(row)) return done;
    return [restoringLimit({ row, done, changed: again, left: done }, command), done];
  });
}

/** RECORD OUTCOME, REVOKE PREDECESSOR, SETTLE. Then the row is read again. */
export function settling(row: Row, again: Place, command: Command): Moves {
  const saved = retiringPredecessor(row, to(settleForFinish, { row, again }), command);
  return row.generation === 0 ? saved : confirmingOutcome(row, { saved, reverted: again });
}

function settleForFinish({ row, again }: Holding & { readonly again: Place }): Step {
  return doing({ access: "row.replace", row: settledRow(row), seen: row.version }, ({ answer }) =>
    answer === "unanswered" ? to(readSettledForFinish, { row, again }) : bounded(again),
  );
}

function readSettledForFinish({ row: old, again }: Holding & { readonly again: Place }): Step {
  return doing({ access: "row.find" }, (row) => (row?.version === old.version ? UNSURE : again));
}
