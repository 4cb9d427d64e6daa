import type { Protocol } from "../command.ts";
import type { Hash, Outcome, Records, Row, RowContent, Spooled, Version } from "../accesses.ts";

/** The store, the upstream and the spool folder of one user. */
export interface World extends Records {
  readonly row: StoredRow | null;
  /** Keys that work upstream, in order. */
  readonly live: readonly Hash[];
  /** Keys that the upstream lists: the live ones, and those that are only disabled. */
  readonly listed: readonly Hash[];
  /** The generations of POSTs that may still arrive. */
  readonly inFlight: readonly number[];
  readonly spool: readonly Spooled[];
}

export interface StoredRow extends RowContent {
  /** Counted only where a compare-and-set looks at nothing else (the breach "aba"). */
  readonly revision: number;
}

const NOTHING: World = {
  row: null,
  operations: 0,
  outcomes: [null],
  retirements: [null],
  owedAfterAll: [],
  live: [],
  listed: [],
  inFlight: [],
  spool: [],
};

export type StartName = "none" | "row" | "manual";

/** A user without anything, with a key that was made and saved, or with a key that a person saved. */
export function worldAtStart(start: StartName): World {
  if (start === "none") return NOTHING;
  if (start === "manual") return { ...NOTHING, row: { ...settledAt(0, "m5"), revision: 1 } };
  const made = keyOfGeneration(1);
  return {
    ...NOTHING,
    row: { ...settledAt(1, made), revision: 1 },
    operations: 1,
    outcomes: [null, { saved: made }],
    live: [made],
    listed: [made],
  };
}

function settledAt(generation: number, hash: Hash): RowContent {
  return { generation, hash, settled: true, previous: null };
}

/** What users get: a row counts once its generation's outcome is "saved"; until then its predecessor does. */
export function currentKey({ row, outcomes, retirements }: World, protocol: Protocol): Hash | null {
  if (row === null) return null;
  if (protocol === "outcome first") return row.hash;
  if (protocol === "outcome first, patched") return retirements[row.generation] ? null : row.hash;
  const isCurrent = row.generation === 0 || savedHash(outcomes[row.generation]) === row.hash;
  return isCurrent ? row.hash : (row.previous?.hash ?? null);
}

export function savedHash(outcome: Outcome | null | undefined): Hash | null {
  return outcome === null || outcome === undefined || outcome === "abandoned" ? null : outcome.saved;
}

/** The revocation of this generation was decided. */
export function isOwed({ retirements, owedAfterAll }: Records, generation: number): boolean {
  return retirements[generation]?.revoke === true || owedAfterAll.includes(generation);
}

/** The hash of the key of a generation, and of the one more that a POST made when it arrived twice. */
export function keyOfGeneration(generation: number, copy: "" | "'" = ""): Hash {
  return `g${generation}${copy}`;
}

/** 0 for a key that the protocol did not make. */
export function generationOfKey(hash: Hash): number {
  return hash.startsWith("g") ? Number.parseInt(hash.slice(1), 10) : 0;
}

export const MOST_GENERATIONS = 12;
const FIRST_MANUAL_BIT = 26;
export const MADE_KEYS = (1 << FIRST_MANUAL_BIT) - 1;

/** Sets of keys are bits: two for each generation, then the keys `m0` to `m5` that persons saved. */
export function bitOf(hash: Hash | null): number {
  if (hash === null) return 0;
  const generation = generationOfKey(hash);
  const place =
    generation === 0 ? FIRST_MANUAL_BIT + Number(hash.slice(1)) : 2 * generation + (hash.endsWith("'") ? 1 : 0);
  return 1 << place;
}

/** How a version compares: by whether the row is still the one that was read, or (aba) by its revision alone. */
export type Comparison = "whole version" | "revision alone";

/**
 * `_id` and revision never recur, so it is enough to know whether the row that was read is the row `now`, was `revised` since, or
 * is `gone`. The generation and the hash that were read ride along, to see whether a write hits something else.
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
  const { generation, hash, settled, previous } = row;
  return { generation, hash, settled, previous, version: versionOf(row, comparison) };
}

export function withRecord<Value>(records: readonly (Value | null)[], index: number, value: Value) {
  return Array.from({ length: Math.max(records.length, index + 1) }, (_, at) =>
    at === index ? value : (records[at] ?? null),
  );
}

export function withKeys(keys: readonly Hash[], more: readonly Hash[]): readonly Hash[] {
  return [...new Set([...keys, ...more])].toSorted();
}

export function withoutKey(keys: readonly Hash[], gone: Hash): readonly Hash[] {
  return keys.filter((key) => key !== gone);
}
