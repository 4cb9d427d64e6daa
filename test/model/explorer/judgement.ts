import type { Hash } from "../accesses.ts";
import type { Protocol } from "../command.ts";
import { isPlace } from "../step.ts";
import type { Entry } from "./entry.ts";
import type { Transition } from "./transitions.ts";
import { bitOf, currentKey, generationOfKey, isOwed, MADE_KEYS, savedHash } from "./world.ts";
import type { World } from "./world.ts";

/** The effect of one access on the users' keys, and whether it is allowed. */
export interface Judgement {
  /** The current key was replaced by another one or by none. */
  readonly displaced: boolean;
  /** Sets of keys: handed out, removed from the row by a purge, given up by a command's decision. */
  readonly returned: number;
  readonly purged: number;
  readonly decided: number;
  /** A paid operation was opened although a current key exists: allowed, but wasteful. */
  readonly wasteful: boolean;
  readonly violation: string | null;
}

export function judgeTransition(entry: Entry, before: World, transition: Transition, protocol: Protocol): Judgement {
  const after = transition.effect.world;
  const was = currentKey(before, protocol);
  const is = currentKey(after, protocol);
  const displaced = was !== null && was !== is;
  const returned = returnedBy(transition);
  return {
    displaced,
    returned: bitOf(returned),
    purged: displaced && is === null && transition.access.access === "row.remove" ? bitOf(was) & MADE_KEYS : 0,
    decided: displaced && isReplacedForGood(was, after, entry) ? bitOf(was) : decidedBy(transition, after),
    wasteful: is !== null && entry.command.kind === "sync" && after.operations > before.operations,
    violation:
      (transition.effect.unread ? "I4 a change overwrote a row that it had not read" : null) ??
      (displaced ? displacement(entry, was, is, before) : null) ??
      handedOut(entry, returned, is),
  };
}

function returnedBy({ move }: Transition): Hash | null {
  return "checked" in move || isPlace(move) ? null : move.returned;
}

/**
 * A save or committed rotation notes in the row that its predecessor is to be revoked; the simpler protocol has no
 * note.
 */
function isReplacedForGood(was: Hash, { row }: World, { command }: Entry): boolean {
  if (command.protocol !== "row first") return command.kind === "rotate";
  return row?.previous?.hash === was && row.previous.revoke;
}

function decidedBy({ access }: Transition, { outcomes }: World): number {
  if (access.access === "journal.insert del") return bitOf(savedHash(outcomes[access.generation]));
  if (access.access !== "journal.insert rev") return 0;
  const { reason, revoke } = access.retirement;
  return reason === "purged" && revoke ? bitOf(savedHash(outcomes[access.generation])) : 0;
}

/**
 * I2 and I4: only save and purge may displace a current key, with three exceptions. Any command may finish a placed
 * rotation. A reconcile may finish an interrupted purge. A command that gave a key removes it if it is to be deleted by
 * then.
 */
function displacement({ command }: Entry, was: Hash, is: Hash | null, before: World): string | null {
  const { row, retirements } = before;
  if (command.kind === "save" || command.kind === "purge") return null;
  if (row?.previous?.hash === was && is === row.hash) return null;
  if (command.protocol !== "row first" && command.kind === "rotate") return null;
  const retired = (retirements[generationOfKey(was)] ?? null) !== null;
  if (command.kind === "reconcile" && is === null && retired) return null;
  if (command.key === was && is === null && isOwed(before, generationOfKey(was))) return null;
  return generationOfKey(was) === 0
    ? "I4 a saved key was displaced by a command that may not"
    : "I2 the current key was displaced by a command that may not";
}

function handedOut({ saw }: Entry, returned: Hash | null, current: Hash | null): string | null {
  const wrong = (saw === "no change" || saw === "not begun") && returned !== null && returned !== current;
  return wrong ? "I2 a caller got a key that is not the current one" : null;
}
