import type { Protocol } from "../command.ts";
import type { Hash, KeyContent, LimitDue, LiveOperations, Outcome, Records } from "../accesses.ts";
import type { Restrictions, Row, RowContent, Spooled, Version } from "../accesses.ts";
import { isTombstone } from "../actors/block.ts";
import { plainRow, settledRow } from "../actors/predecessor.ts";

/** The store, the upstream and the spool folder of one user, and the worlds of the other users. */
export interface World extends Omit<Records, "dues"> {
  /** The generations with a record `due`, and those whose time has come. */
  readonly due: readonly number[];
  readonly over: readonly number[];
  readonly row: StoredRow | null;
  /** Keys that work upstream, in order. */
  readonly live: readonly Hash[];
  /** Keys that the upstream lists: the live and the disabled ones. */
  readonly listed: readonly Hash[];
  /** The keys with a limit that was lowered, and the keys in a guardrail or an allow-list. */
  readonly lowered: readonly Hash[];
  readonly restricted: readonly Hash[];
  /** The generations of POSTs that may still arrive. */
  readonly inFlight: readonly number[];
  readonly spool: readonly Spooled[];
  /** Only in broken variants. */
  readonly blockRecorded: boolean;
  /** The generations whose keys were requested explicitly. */
  readonly deliberate: readonly number[];
  /**
   * For the invariants, recorded nowhere: the keys that a commit replaced with a grace, and those of them that must not
   * survive a `purge --revoke` or a rotation that ends every grace.
   */
  readonly graced: readonly Hash[];
  readonly wiped: readonly Hash[];
  /** Likewise: `stands` from the tombstone of a purge to the unblock, `lifted` from then on. */
  readonly block: "none" | "stands" | "lifted";
  /** Likewise: the keys that a person has deleted or disabled upstream, or `leaked` has disabled. */
  readonly killed: readonly Hash[];
  /** Likewise: the leaked keys that were reported as contained. */
  readonly contained: readonly Hash[];
  /** Likewise: the generations that a renewal or `leaked` has opened, and the key that each of them is to replace. */
  readonly replacing: readonly Replacing[];
  readonly others: readonly World[];
}

interface Replacing {
  readonly generation: number;
  readonly about: Hash | null;
}

export interface StoredRow extends RowContent {
  /** Counted only if a compare-and-set compares nothing else (the breach "aba"). */
  readonly revision: number;
}

const NOTHING: World = {
  row: null,
  operations: 0,
  outcomes: [null],
  retirements: [null],
  owedAfterAll: [],
  due: [],
  over: [],
  live: [],
  listed: [],
  lowered: [],
  restricted: [],
  inFlight: [],
  spool: [],
  blockRecorded: false,
  deliberate: [],
  graced: [],
  wiped: [],
  block: "none",
  killed: [],
  contained: [],
  replacing: [],
  others: [],
};

export type StartName = "none" | "row" | "manual" | "retained" | "lowered" | "restricted" | "dead" | "expired";

/** The only full limit, and the only restrictions, that a key has here. */
export const FULL_LIMIT: LimitDue = "full";
export const RESTRICTED: Restrictions = "restricted";

/**
 * A user with nothing, with a created key, with a key that was saved by hand, or with a second created key that has
 * replaced the first one, which was kept. The created key may wait for its full limit, have restrictions, or be dead:
 * deleted upstream, or expired, which is listed.
 */
export function worldAtStart(start: StartName, others: number): World {
  return { ...worldOf(start), others: Array.from({ length: others }, () => NOTHING) };
}

/** The world with the given other user in the first place. A second call restores the original. */
export function asSeenBy(user: number, world: World): World {
  const other = world.others[user - 1];
  if (other === undefined) return world;
  const { others, ...own } = world;
  return { ...other, others: others.with(user - 1, { ...own, others: [] }) };
}

function worldOf(start: StartName): World {
  if (start === "none") return NOTHING;
  if (start === "manual") return { ...NOTHING, row: { ...plainRow({ generation: 0, hash: "m5" }), revision: 1 } };
  const made = Array.from({ length: start === "retained" ? 2 : 1 }, (_, at) => keyOfGeneration(at + 1));
  const limitDue = start === "lowered" ? FULL_LIMIT : null;
  const restrictions = start === "restricted" ? RESTRICTED : null;
  const isDead = start === "dead" || start === "expired";
  const key = { generation: made.length, hash: keyOfGeneration(made.length), limitDue, restrictions };
  return {
    ...NOTHING,
    row: { ...settledRow(key), revision: 1 },
    operations: made.length,
    outcomes: [null, ...made.map((saved) => ({ saved }))],
    retirements: [null, ...made.slice(1).map(() => ({ reason: "superseded", revoke: false, block: false }) as const)],
    live: isDead ? [] : made,
    listed: start === "dead" ? [] : made,
    killed: isDead ? made : [],
    lowered: limitDue === null ? [] : made,
    restricted: restrictions === null ? [] : made,
  };
}

/** The key that users get: the row's key once its generation's outcome is "saved"; until then its predecessor. */
export function currentKey({ row, outcomes, retirements }: World, protocol: Protocol): Hash | null {
  if (row === null || isTombstone(row)) return null;
  if (protocol === "outcome first") return row.hash;
  if (protocol === "outcome first, patched") return retirements[row.generation] ? null : row.hash;
  const isCurrent = row.generation === 0 || savedHash(outcomes[row.generation]) === row.hash;
  return isCurrent ? row.hash : (row.previous?.hash ?? null);
}

export function savedHash(outcome: Outcome | null | undefined): Hash | null {
  return outcome === null || outcome === undefined || outcome === "abandoned" ? null : outcome.saved;
}

/** The operations that count towards the cap. */
export function liveOperations(world: World): LiveOperations {
  const outcomes = [world, ...world.others].flatMap((one) => undecidedOrSaved(one).map(({ outcome }) => outcome));
  const saved = outcomes.filter((outcome) => outcome !== null).length;
  return { saved, open: outcomes.length - saved };
}

/** C1: the number of keys that were, or may still be, created automatically and are not abandoned. */
export function keysTowardsCap(world: World): number {
  const ofOne = (one: World) =>
    undecidedOrSaved(one).filter(
      ({ n, outcome }) =>
        outcome !== null || one.inFlight.includes(n) || one.listed.some((hash) => generationOfKey(hash) === n),
    );
  return [world, ...world.others].flatMap(ofOne).length;
}

function undecidedOrSaved({ operations, outcomes, deliberate }: World) {
  const generations = Array.from({ length: operations }, (_, at) => at + 1);
  return generations.flatMap((n) => {
    const outcome = outcomes[n] ?? null;
    return outcome === "abandoned" || deliberate.includes(n) ? [] : [{ n, outcome }];
  });
}

/** What the row says about the current key; null if no created key is current. */
export function currentContent(world: World, protocol: Protocol): KeyContent | null {
  const current = currentKey(world, protocol);
  if (current === null || world.row === null) return null;
  const content = world.row.hash === current ? world.row : world.row.previous;
  return content !== null && content.generation > 0 ? content : null;
}

/** I10: a created key that is current has a lowered limit, and the row does not say that it gets the full one. */
export function isLimitForgotten(world: World, protocol: Protocol): boolean {
  const content = currentContent(world, protocol);
  return content !== null && content.limitDue === null && isLowered(world, content.hash);
}

/** A key in use that a person, or `leaked`, has not killed must work. */
export function isKilled({ killed }: World, hash: Hash | null): boolean {
  return hash !== null && killed.includes(hash);
}

export function isLowered({ lowered, live }: World, hash: Hash): boolean {
  return lowered.includes(hash) && live.includes(hash);
}

/** The keys of a generation are over their grace from now on. */
export function withGraceOver(world: World, generations: readonly number[]): World {
  return { ...world, over: generations.reduce(withNumber, world.over) };
}

/** Whether the deletion of this generation's key is recorded. */
export function isOwed({ retirements, owedAfterAll }: World, generation: number): boolean {
  return retirements[generation]?.revoke === true || owedAfterAll.includes(generation);
}

/**
 * A kept key is given again while another command records its deletion: the key may die in the row before the giving
 * command has read the records a second time.
 */
export function isGivenBackLate({ row, retirements, owedAfterAll }: World): boolean {
  if (row === null || row.generation > 0) return false;
  const made = generationOfKey(row.hash);
  return made > 0 && retirements[made]?.revoke === false && owedAfterAll.includes(made);
}

/** The hash of the key of a generation, or of the second key from a POST that arrived twice. */
export function keyOfGeneration(generation: number, copy: "" | "'" = ""): Hash {
  return `g${generation}${copy}`;
}

/** The generation of a key; 0 if the protocol did not create it. */
export function generationOfKey(hash: Hash): number {
  return hash.startsWith("g") ? Number.parseInt(hash.slice(1), 10) : 0;
}

export const MOST_GENERATIONS = 12;
const FIRST_MANUAL_BIT = 26;
export const MADE_KEYS = (1 << FIRST_MANUAL_BIT) - 1;

/** A key as a bit of a set: two bits for each generation, then the keys `m0` to `m5` that were saved by hand. */
export function bitOf(hash: Hash | null): number {
  if (hash === null) return 0;
  const generation = generationOfKey(hash);
  const place =
    generation === 0 ? FIRST_MANUAL_BIT + Number(hash.slice(1)) : 2 * generation + (hash.endsWith("'") ? 1 : 0);
  return 1 << place;
}

export function bitsOf(hashes: readonly Hash[]): number {
  return hashes.reduce((bits, hash) => bits | bitOf(hash), 0);
}

/** The comparison of versions: whether the row is still the one that was read, or (aba) the revision alone. */
export type Comparison = "whole version" | "revision alone";

/**
 * `_id` and revision never recur, so three states are enough for a row that was read: it is the row `now`, was
 * `revised` since, or is `gone`. The version also contains the generation and hash that were read, to detect a write to
 * another row.
 */
export function versionOf(row: StoredRow, comparison: Comparison): Version {
  const state = comparison === "revision alone" ? row.revision : "now";
  return `${state}|${row.generation}|${row.hash}`;
}

export function isStill(row: StoredRow | null, seen: Version, comparison: Comparison): row is StoredRow {
  return row !== null && seen.split("|")[0] === versionOf(row, comparison).split("|")[0];
}

/** Whether the row that was read had this generation and this key. */
export function wasReadAs(row: StoredRow, seen: Version): boolean {
  return seen.endsWith(`|${row.generation}|${row.hash}`);
}

export function rowAsRead(row: StoredRow, comparison: Comparison): Row {
  const { revision: _, ...content } = row;
  return { ...content, version: versionOf(row, comparison) };
}

export function withRecord<Value>(records: readonly (Value | null)[], index: number, value: Value) {
  return Array.from({ length: Math.max(records.length, index + 1) }, (_, at) =>
    at === index ? value : (records[at] ?? null),
  );
}

export function withNumber(numbers: readonly number[], more: number): readonly number[] {
  return [...new Set([...numbers, more])].toSorted((a, b) => a - b);
}

export function withKeys(keys: readonly Hash[], more: readonly Hash[]): readonly Hash[] {
  return [...new Set([...keys, ...more])].toSorted();
}

export function withoutKey(keys: readonly Hash[], gone: Hash): readonly Hash[] {
  return keys.filter((key) => key !== gone);
}
