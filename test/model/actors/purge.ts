import type { Hash, Records, Retirement, Row } from "../accesses.ts";
import type { Command } from "../command.ts";
import { insertTombstone, leaving } from "./block.ts";
import { isDraft } from "./draft-block.ts";
import { listUpstream } from "./reconcile.ts";
import { removing } from "./removal.ts";
import { startOver, retirePreviousOf } from "./settle.ts";
import { doing, ended, to } from "../step.ts";
import type { Holding, Move, Moves, Place, Step } from "../step.ts";

const PURGED = ended("purged");

/**
 * `purge --revoke` deletes every key that was created for the user: keys that were replaced or purged, and kept or given
 * a grace, are to be deleted after all.
 */
function retainedIn(records: Records, { breach }: Command): readonly number[] {
  const forgotten = breach === "purge-forgets-retiring" ? replacedWithGrace(records) : [];
  return records.retirements.flatMap((retirement, generation) => {
    const isKept = retirement !== null && !retirement.revoke;
    return isKept && !forgotten.includes(generation) ? [generation] : [];
  });
}

/** The generations that were replaced with a grace. */
export function replacedWithGrace({ dues }: Records): readonly number[] {
  return dues.map(({ generation }) => generation);
}

/**
 * Without a key: purge with `--revoke` finishes an earlier purge that died or had no `--revoke`. A user who is blocked
 * already is not blocked again.
 */
export function purgingNobody({ isBlocked }: { readonly isBlocked: boolean }, command: Command): Move {
  const finishes = command.revoke !== "no" && command.breach !== "purge-finishes-nothing";
  const after = finishes ? to(listUpstream, {}) : ended("nothing to purge");
  const blocking = placesTombstone(command) && !isBlocked ? to(insertTombstone, { after }) : after;
  return finishes ? to(readRecords, { after: blocking }) : blocking;
}

function readRecords({ after }: { readonly after: Moves }, command: Command): Step {
  return doing({ access: "journal.records" }, (records) =>
    owing({ generations: notOwed(retainedIn(records, command), records), after }),
  );
}

/**
 * With a row: repeated in each round, because only the compare-and-set that removes the row proves that nothing
 * changed.
 */
export function withRetained(row: Row, command: Command): Move {
  return command.revoke === "no" || ["purge-forgets-retained", "purge-del-late"].includes(command.breach ?? "")
    ? recordPurge({ row, retained: [] }, command)
    : to(readRetained, { row });
}

function readRetained({ row }: Holding, command: Command): Step {
  return doing({ access: "journal.records" }, (records) => {
    const generations = retainedIn(records, command).filter((generation) => generation !== row.generation);
    const retained = generations.flatMap((generation) => savedIn(records, generation));
    return owing({ generations: notOwed(generations, records), after: recordPurge({ row, retained }, command) });
  });
}

export function notOwed(generations: readonly number[], { owedAfterAll }: Records): readonly number[] {
  return generations.filter((generation) => !owedAfterAll.includes(generation));
}

export function savedIn({ outcomes }: Records, generation: number): readonly Hash[] {
  const outcome = outcomes[generation] ?? null;
  return outcome === null || outcome === "abandoned" ? [] : [outcome.saved];
}

interface Owing {
  readonly generations: readonly number[];
  readonly after: Moves;
}

export function owing(memory: Owing): Moves {
  return memory.generations.length === 0 ? memory.after : to(oweAfterAll, memory);
}

function oweAfterAll({ generations, after }: Owing): Step {
  const [generation = 0, ...rest] = generations;
  return doing({ access: "journal.insert del", generation }, () => owing({ generations: rest, after }));
}

/** `--revoke-foreign`: another user's row holds the same key. */
export function lookForOthers({ row }: Holding, command: Command): Step {
  return doing({ access: "row.others holding", hash: row.hash }, (others) =>
    others === "some" ? ended("CONFLICT") : retirePreviousOf({ row, listed: null }, command),
  );
}

interface Purging extends Holding {
  /** The keys that are deleted upstream together with the one in the row. */
  readonly retained: readonly Hash[];
}

interface Removing extends Purging {
  /** This purge blocks the user, or finishes one that was to. */
  readonly blocks: boolean;
}

/** **Order:** record the revocation, then remove the row. A removed row has no room for a note. */
function recordPurge(memory: Purging, command: Command): Move {
  return memory.row.generation === 0 || command.breach === "purge-row-first"
    ? removingRow({ ...memory, blocks: placesTombstone(command) }, command)
    : to(retirePurged, memory);
}

function retirePurged(memory: Purging, command: Command): Step {
  const revoke = command.revoke !== "no";
  const { generation } = memory.row;
  return doing({ access: "journal.insert rev", generation, retirement: purged(command) }, (stands) => {
    const leaves = { ...memory, blocks: placesTombstone(command) || stands.block };
    return revoke && !stands.revoke ? to(owePurged, leaves) : removingRow(leaves, command);
  });
}

function purged(command: Command): Retirement {
  return { reason: "purged", revoke: command.revoke !== "no", block: placesTombstone(command) };
}

function placesTombstone(command: Command): boolean {
  return command.block && !isDraft(command);
}

function owePurged(memory: Removing, command: Command): Step {
  const { generation } = memory.row;
  return doing({ access: "journal.insert del", generation }, () => removingRow(memory, command));
}

/** Where the tombstone cannot take the place of the row, it is inserted after the row is gone. */
function removingRow({ blocks, ...memory }: Removing, command: Command): Place {
  const after = afterRemoval(memory, command);
  const inserts = placesTombstone(command) && command.split && command.breach !== "tomb-replace";
  const done = inserts ? to(insertTombstone, { after }) : after;
  return leaving({ row: memory.row, blocks, done, lost: startOver() }, command);
}

function afterRemoval(memory: Purging, command: Command): Moves {
  if (command.breach === "purge-row-first") return to(retireTooLate, memory);
  return command.breach === "purge-del-late" && command.revoke !== "no"
    ? to(readRetainedTooLate, memory)
    : revoked(memory, command);
}

function readRetainedTooLate(memory: Purging, command: Command): Step {
  return doing({ access: "journal.records" }, (records) => {
    const generations = retainedIn(records, command);
    const retained = generations.flatMap((generation) => savedIn(records, generation));
    return owing({ generations: notOwed(generations, records), after: revoked({ ...memory, retained }, command) });
  });
}

/** DELETE UPSTREAM comes last, so the row never holds a dead key. */
function revoked({ row: { generation, hash }, retained }: Purging, command: Command): Moves {
  const { revoke } = command;
  const deletes = revoke === "foreign too" || (revoke === "ours" && generation > 0);
  return removing([...new Set([...(deletes ? [hash] : []), ...retained])], PURGED);
}

function retireTooLate(memory: Purging, command: Command): Step {
  const { generation } = memory.row;
  return doing({ access: "journal.insert rev", generation, retirement: purged(command) }, () =>
    revoked(memory, command),
  );
}
