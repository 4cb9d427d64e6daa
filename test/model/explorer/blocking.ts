import { isTombstone } from "../actors/block.ts";
import { isDraft } from "../actors/draft-block.ts";
import { isPlace, UNSURE } from "../step.ts";
import type { Entry } from "./entry.ts";
import type { Transition } from "./transitions.ts";
import type { World } from "./world.ts";

/** What the invariants remember about the block of a user, which no store records. */
export function blockAfter(entry: Entry, before: World, transition: Transition): World["block"] {
  const after = transition.effect.world;
  if ((!isBlocked(before) && isBlocked(after)) || isBlockedByRecord(entry, transition)) return "stands";
  if (isLifted(entry, transition)) return "lifted";
  if (isBlocked(before) && after.row === null) return "none";
  return begins(entry, before, transition) && before.block === "lifted" ? "none" : before.block;
}

/** A broken variant: a purge has returned that has recorded its block. */
function isBlockedByRecord({ command, late }: Entry, { move }: Transition): boolean {
  return isDraft(command) && command.kind === "purge" && !late && hasEnded(move);
}

/** A purge that blocks has recorded or placed its block. */
export function begins({ command }: Entry, before: World, { access, effect }: Transition): boolean {
  if (command.kind !== "purge" || before === effect.world) return false;
  const records = access.access === "journal.insert rev" && access.retirement.block;
  return records || (!isBlocked(before) && isBlocked(effect.world));
}

/** An unblock beside a purge that blocks comes before or after it: nobody can tell. */
function isLifted({ command, late, besideBlock }: Entry, { effect, move }: Transition): boolean {
  return command.kind === "unblock" && !late && besideBlock !== true && hasEnded(move) && !isBlocked(effect.world);
}

/** The command has reported that it is done. */
function hasEnded(move: Transition["move"]): boolean {
  return !("checked" in move) && !isPlace(move) && move.ended !== UNSURE.ended;
}

/** I8: a command that repairs blocks a user after an unblock. */
export function isReblocked(before: World, after: World): boolean {
  return before.block === "lifted" && isBlocked(after);
}

export function isBlocked({ row }: World): boolean {
  return row !== null && isTombstone(row);
}
