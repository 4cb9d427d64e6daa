import type { Listed, Previous, Row } from "../accesses.ts";
import type { Command } from "../command.ts";
import { refusing, withoutRow } from "./begin.ts";
import { isTombstone } from "./block.ts";
import { unlessBlocked } from "./draft-block.ts";
import { giving } from "./given.ts";
import { handingOut } from "./last-look.ts";
import { rotatingLeaked } from "./leaked.ts";
import { isLimitWaiting, restoringLimit } from "./limit.ts";
import { retiringPredecessor, settledRow } from "./predecessor.ts";
import { lookForOthers, withRetained } from "./purge.ts";
import { lookForRemoval, lookForReplacement } from "./read-back.ts";
import { isPurgePending, readRowAfterList } from "./reconcile.ts";
import { confirmingRefusal, isReplacedAlready } from "./renew.ts";
import { beginRotation } from "./rotate.ts";
import { liftPendingBlock } from "./unblock.ts";
import { bounded, doing, ended, listOf, to, UNSURE, waiting } from "../step.ts";
import type { Holding, Moves, Place, Step } from "../step.ts";

/**
 * SETTLE: the steps of every actor that has read a row. A row of generation n is current once `out:n` is saved; until
 * then its `previous` is current. **Order:** RECORD OUTCOME, then REVOKE PREDECESSOR: a predecessor is revoked only
 * after its successor can no longer be undone.
 */
export interface Found {
  readonly row: Row;
  /** The keys that a reconcile has listed upstream; null in every other command. */
  readonly listed: readonly Listed[] | null;
}

/** The first read of the row in every command except reconcile. */
export function readRow(_: object, command: Command): Step {
  return doing({ access: "row.find" }, (row) =>
    row === null ? withoutRow(command) : found({ row, listed: null }, command),
  );
}

/** Starts over with the first read of the row. */
export function startOver(): Place {
  return bounded(to(readRow, {}));
}

export function found(memory: Found, command: Command): Moves {
  const { row, listed } = memory;
  if (isTombstone(row)) return refusing(memory, command);
  const trusting = command.breach === "trust-row" && isReader(memory, command);
  if (row.generation === 0 || row.settled || trusting) return confirmed(memory, command);
  const saved = isAnswer(memory, command) ? handingOut(row, command) : confirmed(memory, command);
  return confirmingOutcome(row, { saved, reverted: listed === null ? startOver() : to(readRowAfterList, { listed }) });
}

interface Confirming extends Holding {
  readonly saved: Moves;
  /** The generation is abandoned, and its predecessor is back in the row. */
  readonly reverted: Moves;
}

/** RECORD OUTCOME for an unsettled row that was read, of a created key. */
export function confirmingOutcome(row: Row, { saved, reverted }: Omit<Confirming, "row">): Place {
  return to(readOutcome, { row, saved, reverted });
}

function readOutcome(memory: Confirming, command: Command): Step {
  const helping = { free: to(helpOutcome, memory), blocked: to(refuseBlocked, memory) };
  return doing({ access: "journal.read out", generation: memory.row.generation }, (outcome) => {
    if (outcome === null) return unlessBlocked("before another's outcome", helping, command);
    return outcome === "abandoned" ? to(revertRow, memory) : memory.saved;
  });
}

/** Only an actor that has read generation n in the row may record it as saved. */
function helpOutcome(memory: Confirming): Step {
  const { generation, hash } = memory.row;
  return doing({ access: "journal.insert out", generation, outcome: { saved: hash } }, (stands) =>
    stands === "abandoned" ? to(revertRow, memory) : memory.saved,
  );
}

/** Only in broken variants. */
function refuseBlocked(memory: Confirming): Step {
  const { generation } = memory.row;
  return doing({ access: "journal.insert out", generation, outcome: "abandoned" }, (stands) =>
    stands === "abandoned" ? to(revertRow, memory) : memory.saved,
  );
}

function revertRow({ row, reverted }: Confirming, command: Command): Step {
  return revert(row, command, reverted);
}

/** Restores the row from before an abandoned generation. */
export function revert(row: Row, command: Command, after: Moves): Step {
  const before = command.breach === "no-previous" ? null : restorable(row.previous, command);
  const looking = { seen: row.version, content: before ?? row, done: after, lost: after };
  const look = before === null ? lookForRemoval(looking) : lookForReplacement(looking);
  const next = ({ answer }: { readonly answer: string }) => (answer === "unanswered" ? look : after);
  if (before === null) return doing({ access: "row.remove", seen: row.version }, next);
  return doing({ access: "row.replace", row: settledRow(before), seen: row.version }, next);
}

function restorable(previous: Previous | null, { breach }: Command): Previous | null {
  return previous !== null && breach === "undo-forgets-limit" ? { ...previous, limitDue: null } : previous;
}

/**
 * The row is current, and this is final. Readers are done; writers must not lose the row's note about its predecessor.
 */
function confirmed(memory: Found, command: Command): Moves {
  const { row, listed } = memory;
  if (isAnswer(memory, command)) return ended("has the key", row.hash);
  if (command.kind === "save" && listed === null && row.hash === command.key) return ended("saved already");
  if (command.kind === "unblock") return liftPendingBlock(row, command);
  if (command.kind === "purge" && listed === null && row.generation === 0) {
    if (command.revoke === "ours") return ended("FOREIGN_KEY");
    if (command.revoke === "foreign too") return to(lookForOthers, { row });
  }
  return retirePreviousOf(memory, command);
}

/** **Order:** REVOKE PREDECESSOR precedes every replacement or removal of the row: else the note is lost. */
export function retirePreviousOf(memory: Found, command: Command): Moves {
  const { generation, previous } = memory.row;
  return retiringPredecessor({ generation, previous: misread(previous, command) }, retired(memory, command), command);
}

/** Programs that do not know graces, or only half of the rule. */
function misread(previous: Previous | null, { breach }: Command): Previous | null {
  if (previous === null || previous.graceMs === null) return previous;
  if (breach === "s2-no-grace") return { ...previous, graceMs: null, revoke: true };
  return breach === "s2-no-due" ? { ...previous, graceMs: null } : previous;
}

function retired(memory: Found, command: Command): Moves {
  return memory.listed !== null && !memory.row.settled ? to(settleRow, memory) : settled(memory, command);
}

/** SETTLE by reconcile. */
function settleRow({ row, listed }: Found, command: Command): Step {
  return doing({ access: "row.replace", row: settledRow(row), seen: row.version }, (written) => {
    const again = to(readRowAfterList, { listed: listed ?? [] });
    if (written.answer === "refused") return again;
    if (written.answer === "unanswered") return to(readSettled, { row, listed });
    return settled({ row: { ...settledRow(row), version: written.version }, listed }, command);
  });
}

/** Another actor may have settled the row, which is equally good. */
function readSettled({ row: old, listed }: Found, command: Command): Step {
  return doing({ access: "row.find" }, (row) => {
    if (row?.version === old.version) return UNSURE;
    const again = to(readRowAfterList, { listed: listed ?? [] });
    const isIt = row?.generation === old.generation && row.hash === old.hash && row.settled;
    return isIt ? [again, ...listOf(settled({ row, listed }, command))] : again;
  });
}

/** The row has no open work. The command itself begins. */
function settled({ row, listed }: Found, command: Command): Moves {
  if (listed !== null) return isPurgePending({ row, listed });
  switch (command.kind) {
    case "save":
      return giving(row, command);
    case "purge":
      return withRetained(row, command);
    case "renew":
      return confirmingRefusal(row, command);
    default: {
      const rotating = command.kind === "leaked" ? rotatingLeaked(row, command) : beginRotation(row, command);
      // Only the clock tells whether the time of the full limit has come.
      return isLimitWaiting(row) ? [restoringLimit({ row, ...RESTORED }, command), waiting(rotating)] : rotating;
    }
  }
}

/** A rotation reads the row again after RESTORE LIMIT. */
const RESTORED = { done: startOver(), changed: startOver(), left: ended("PROVIDER_UNAVAILABLE") };

/** The key in the row is what the command hands out. */
function isAnswer(memory: Found, command: Command): boolean {
  return isReader(memory, command) || isReplacedAlready(memory.row, command);
}

function isReader({ listed }: Found, { kind }: Command): boolean {
  return listed === null && (kind === "sync" || kind === "get");
}
