import type { Row } from "../accesses.ts";
import type { Command } from "../command.ts";
import { settledRow } from "./predecessor.ts";
import { doing, listOf, to, UNSURE } from "../step.ts";
import type { Holding, Moves, Place, Step } from "../step.ts";

/**
 * RESTORE LIMIT: a key that was created with what was left of a limit gets the full one at its time. **Order:** change
 * the limit upstream, then drop the note in the row: else a command that dies in between loses the note. Every request
 * for one key sets the same limit, so a late or repeated one is harmless.
 */
interface Restoring extends Holding {
  readonly done: Moves;
  /** The row has changed, and is read again. */
  readonly changed: Moves;
  /** The limit was not changed. The next finish or reconcile tries again. */
  readonly left: Moves;
}

/** Only a settled row of a created key has its full limit restored. */
export function isLimitWaiting({ generation, settled, limitDue }: Row): boolean {
  return generation > 0 && settled && limitDue !== null;
}

export function restoringLimit(memory: Restoring, { breach }: Command): Place {
  return breach === "limit-row-first" ? to(forgetLimit, memory) : to(setFullLimit, memory);
}

function setFullLimit(memory: Restoring, { breach }: Command): Step {
  const { row, done, left } = memory;
  return doing(
    { access: "upstream.set limit", hash: row.hash },
    (answer) => {
      if (answer === "unanswered") return to(setFullLimit, memory);
      if (breach === "limit-row-first") return done;
      // A key that is gone has no limit either.
      return breach === "limit-no-cas" ? to(forgetLimitUnseen, memory) : to(forgetLimit, memory);
    },
    () => left,
  );
}

function forgetLimit(memory: Restoring, { breach }: Command): Step {
  const { row, changed } = memory;
  const done = breach === "limit-row-first" ? to(setFullLimit, memory) : memory.done;
  return doing({ access: "row.replace", row: settledRow({ ...row, limitDue: null }), seen: row.version }, (written) => {
    if (written.answer === "refused") return changed;
    return written.answer === "unanswered" ? to(readForgotten, memory) : done;
  });
}

/** The write is never sent again. While the row is unchanged, it may still be applied. */
function readForgotten({ row: old, done, changed }: Restoring): Step {
  return doing({ access: "row.find" }, (row) => {
    if (row?.version === old.version) return UNSURE;
    // Another command may have restored the limit, which is equally good.
    const isRestored = row?.hash === old.hash && row.settled && row.limitDue === null;
    return isRestored ? [...listOf(done), ...listOf(changed)] : changed;
  });
}

function forgetLimitUnseen({ done }: Restoring): Step {
  return doing({ access: "row.forget limit" }, () => done);
}
