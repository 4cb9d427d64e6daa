import type { Access, Hash, RowContent } from "../accesses.ts";
import type { ActorKind, Command, Protocol } from "../command.ts";
import { isPlace } from "../step.ts";
import { begins, blockAfter, isBlocked, isReblocked } from "./blocking.ts";
import type { Entry } from "./entry.ts";
import { judgeReplacing, rememberingReplaced } from "./replacing.ts";
import type { Transition } from "./transitions.ts";
import { bitOf, bitsOf, currentKey, generationOfKey, isOwed, MADE_KEYS, savedHash, withKeys } from "./world.ts";
import type { World } from "./world.ts";

/** The effect of one access on the users' keys, and whether it is allowed. */
export interface Judgement {
  /** A purge that blocks has recorded or placed its block. */
  readonly beginsBlock: boolean;
  /** Sets of keys: handed out, removed from the row by a purge, given up by a command's decision. */
  readonly returned: number;
  readonly purged: number;
  readonly decided: number;
  /** The keys that work, and were taken out of a guardrail or an allow-list. */
  readonly detached: number;
  /** A paid operation was opened although a current key exists: allowed, but wasteful. */
  readonly wasteful: boolean;
  readonly violation: string | null;
}

/** The world after the transition, with what the invariants remember about it. */
export function remembering(entry: Entry, before: World, transition: Transition, protocol: Protocol): World {
  const block = blockAfter(entry, before, transition);
  const world = rememberingReplaced(entry, rememberingKeys(entry, before, transition, protocol), transition);
  return world.block === block ? world : { ...world, block };
}

function rememberingKeys({ command }: Entry, before: World, { access, effect }: Transition, protocol: Protocol): World {
  const { world } = effect;
  if (before === world) return world;
  const was = currentKey(before, protocol);
  const displaced = was !== null && was !== currentKey(world, protocol);
  const note = world.row?.previous ?? null;
  if (displaced && note !== null && note.hash === was && note.generation > 0 && note.graceMs !== null) {
    return { ...world, graced: withKeys(world.graced, [was]) };
  }
  return endsGraces(command, access, displaced && isVacant(world)) ? { ...world, wiped: world.graced } : world;
}

/** The row holds no key. */
function isVacant(world: World): boolean {
  return world.row === null || isBlocked(world);
}

/** I9: the row of a `purge --revoke` goes, or the row of a rotation that ends every grace is replaced. */
function endsGraces({ kind, revoke }: Command, access: Access, isPurged: boolean): boolean {
  if (kind === "purge") return revoke !== "no" && isPurged && isOfRow(access);
  const rotates = kind === "rotate" || kind === "leaked";
  return rotates && revoke === "ours" && access.access === "row.replace" && !access.row.settled;
}

function isOfRow({ access }: Access): boolean {
  return access === "row.remove" || access === "row.replace";
}

export function judgeTransition(entry: Entry, before: World, transition: Transition, protocol: Protocol): Judgement {
  const after = transition.effect.world;
  const was = currentKey(before, protocol);
  const is = currentKey(after, protocol);
  const displaced = was !== null && was !== is;
  const returned = returnedBy(transition);
  return {
    beginsBlock: begins(entry, before, transition),
    returned: bitOf(returned),
    purged: displaced && isVacant(after) && isOfRow(transition.access) ? bitOf(was) & MADE_KEYS : 0,
    decided: displaced && isReplacedForGood(was, after, entry) ? bitOf(was) : decidedBy(entry, transition, after),
    detached: before === after ? 0 : detached(before, after),
    wasteful: is !== null && entry.command.kind === "sync" && after.operations > before.operations,
    violation:
      (transition.effect.unread ? "I4 a change overwrote a row that it had not read" : null) ??
      (displaced ? displacement(entry, was, is, before) : null) ??
      (displaced ? lessRestricted(was, is, after) : null) ??
      (isReblocked(before, after) && !isOfPurge(entry) ? "I8 a repair blocks a user who was unblocked" : null) ??
      judgeReplacing(entry, before, transition, protocol) ??
      handedOut(entry, returned, is, after),
  };
}

function returnedBy({ move }: Transition): Hash | null {
  return "checked" in move || isPlace(move) ? null : move.returned;
}

/**
 * A save or committed rotation notes in the row that its predecessor is to be revoked at once; the simpler protocol has
 * no note.
 */
function isReplacedForGood(was: Hash, { row }: World, { command }: Entry): boolean {
  if (command.protocol !== "row first") return command.kind === "rotate";
  return row?.previous?.hash === was && row.previous.revoke && row.previous.graceMs === null;
}

/** Other commands insert `del` for what is noted, or due: that decides nothing new. */
function decidedBy({ command }: Entry, { access }: Transition, { outcomes }: World): number {
  const decides = DECIDING.has(command.kind) && command.revoke !== "no";
  if (access.access === "journal.insert del") return decides ? bitOf(savedHash(outcomes[access.generation])) : 0;
  if (access.access !== "journal.insert rev") return 0;
  const { reason, revoke } = access.retirement;
  return reason === "purged" && revoke ? bitOf(savedHash(outcomes[access.generation])) : 0;
}

const DECIDING: ReadonlySet<ActorKind> = new Set(["purge", "rotate", "leaked"]);

/**
 * I2 and I4: only save and purge may displace a current key, with four exceptions. Any command may finish a placed
 * rotation. A reconcile, finish or unblock may finish an interrupted purge. A command that gave a key removes it if it is to be deleted by
 * then. `leaked` removes a leaked key that was given back.
 */
function displacement({ command }: Entry, was: Hash, is: Hash | null, before: World): string | null {
  const { row, retirements } = before;
  const repairs = command.kind === "reconcile" || command.kind === "finish" || command.kind === "unblock";
  if (command.kind === "save" || command.kind === "purge") return null;
  if (row?.previous?.hash === was && is === row.hash) return null;
  if (command.protocol !== "row first" && command.kind === "rotate") return null;
  const retired = (retirements[generationOfKey(was)] ?? null) !== null;
  if (repairs && is === null && retired) return null;
  const given = command.kind === "leaked" ? command.about : command.key;
  if (given === was && is === null && isOwed(before, generationOfKey(was))) return null;
  return generationOfKey(was) === 0
    ? "I4 a saved key was displaced by a command that may not"
    : "I2 the current key was displaced by a command that may not";
}

/** I11: a committed rotation's key has the restrictions of the replaced key, also of one that is deleted upstream. */
function lessRestricted(was: Hash, is: Hash | null, { row, restricted }: World): string | null {
  const isRotated = is !== null && row?.hash === is && row.generation > 0 && row.previous?.hash === was;
  return isRotated && isToBeRestricted(row, was, restricted) && !restricted.includes(is)
    ? "I11 the new key is less restricted than the one it replaces"
    : null;
}

function isToBeRestricted({ previous }: RowContent, was: Hash, restricted: readonly Hash[]): boolean {
  return restricted.includes(was) || previous?.restrictions != null;
}

function detached(before: World, after: World): number {
  return bitsOf(before.restricted.filter((hash) => !after.restricted.includes(hash) && after.live.includes(hash)));
}

/** I2 and I8: at the last access of whoever hands out a key, that key is current. */
function handedOut({ command }: Entry, returned: Hash | null, current: Hash | null, { block }: World): string | null {
  if (returned === null || command.protocol !== "row first") return null;
  if (block === "stands") return "I8 a key was handed out to a blocked user";
  return returned === current ? null : "I2 a caller got a key that is not the current one";
}

function isOfPurge({ command }: Entry): boolean {
  return command.kind === "purge";
}
