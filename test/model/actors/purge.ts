import type { Hash, Records, Row } from "../accesses.ts";
import type { Command } from "../command.ts";
import { listUpstream } from "./reconcile.ts";
import { lookForRemoval } from "./read-back.ts";
import { removing } from "./removal.ts";
import { startOver, retirePreviousOf } from "./settle.ts";
import { doing, ended, to } from "../step.ts";
import type { Holding, Move, Moves, Step } from "../step.ts";

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

/** Without a row: purge with `--revoke` finishes an earlier purge that died or had no `--revoke`. */
export function readRecords(_: object, command: Command): Step {
  return doing({ access: "journal.records" }, (records) =>
    owing({ generations: notOwed(retainedIn(records, command), records), after: to(listUpstream, {}) }),
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

/** **Order:** record the revocation, then remove the row. A removed row has no room for a note. */
function recordPurge(memory: Purging, command: Command): Move {
  return memory.row.generation === 0 || command.breach === "purge-row-first"
    ? to(removeRow, memory)
    : to(retirePurged, memory);
}

function retirePurged(memory: Purging, command: Command): Step {
  const revoke = command.revoke !== "no";
  const retirement = { reason: "purged", revoke } as const;
  return doing({ access: "journal.insert rev", generation: memory.row.generation, retirement }, (stands) =>
    revoke && !stands.revoke ? to(owePurged, memory) : to(removeRow, memory),
  );
}

function owePurged(memory: Purging): Step {
  return doing({ access: "journal.insert del", generation: memory.row.generation }, () => to(removeRow, memory));
}

function removeRow(memory: Purging, command: Command): Step {
  const { row } = memory;
  const done = afterRemoval(memory, command);
  return doing({ access: "row.remove", seen: row.version }, ({ answer }) => {
    if (answer === "refused") return startOver();
    return answer === "done" ? done : lookForRemoval({ seen: row.version, done, lost: startOver() });
  });
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
  const retirement = { reason: "purged", revoke: command.revoke !== "no" } as const;
  return doing({ access: "journal.insert rev", generation: memory.row.generation, retirement }, () =>
    revoked(memory, command),
  );
}
