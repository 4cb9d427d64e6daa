import type { Row } from "../accesses.ts";
import type { Command } from "../command.ts";
import { listUpstream } from "./reconcile.ts";
import { lookForRemoval } from "./read-back.ts";
import { removing } from "./removal.ts";
import { startOver, retirePreviousOf } from "./settle.ts";
import { doing, ended, to } from "../step.ts";
import type { Holding, Move, Step } from "../step.ts";

const PURGED = ended("purged");

/** Purge 1, no row: a purge without `--revoke`, or one that died, is finished by one with it. */
export function readRecords(): Step {
  return doing({ access: "journal.records" }, ({ retirements, owedAfterAll }) => {
    const kept = retirements.flatMap((retirement, generation) =>
      retirement?.reason === "purged" && !retirement.revoke && !owedAfterAll.includes(generation) ? [generation] : [],
    );
    return owing(kept);
  });
}

function owing(generations: readonly number[]): Move {
  return generations.length === 0 ? to(listUpstream, {}) : to(oweAfterAll, { generations });
}

function oweAfterAll({ generations }: { readonly generations: readonly number[] }): Step {
  const [generation = 0, ...rest] = generations;
  return doing({ access: "journal.insert del", generation }, () => owing(rest));
}

/** `--revoke-foreign`: another user's row holds the same key. */
export function lookForOthers({ row }: Holding, command: Command): Step {
  return doing({ access: "row.others holding", hash: row.hash }, (others) =>
    others === "some" ? ended("CONFLICT") : retirePreviousOf({ row, listed: null }, command),
  );
}

/** Purge 2 stands before 3: a row that is gone has no room for a note. */
export function recordPurge(row: Row, command: Command): Move {
  return row.generation === 0 || command.breach === "purge-row-first"
    ? to(removeRow, { row })
    : to(retirePurged, { row });
}

function retirePurged({ row }: Holding, command: Command): Step {
  const revoke = command.revoke !== "no";
  const retirement = { reason: "purged", revoke } as const;
  return doing({ access: "journal.insert rev", generation: row.generation, retirement }, (stands) =>
    revoke && !stands.revoke ? to(owePurged, { row }) : to(removeRow, { row }),
  );
}

function owePurged({ row }: Holding): Step {
  return doing({ access: "journal.insert del", generation: row.generation }, () => to(removeRow, { row }));
}

/** Purge 3. */
function removeRow({ row }: Holding, command: Command): Step {
  return doing({ access: "row.remove", seen: row.version }, ({ answer }) => {
    if (answer === "refused") return startOver();
    const done = command.breach === "purge-row-first" ? to(retireTooLate, { row }) : revoked(row, command);
    return answer === "done" ? done : lookForRemoval({ seen: row.version, done, lost: startOver() });
  });
}

/** Purge 4: upstream last, so that the row never holds a dead key. */
function revoked({ generation, hash }: Row, { revoke }: Command): Move {
  const deletes = revoke === "foreign too" || (revoke === "ours" && generation > 0);
  return deletes ? removing([hash], PURGED) : PURGED;
}

function retireTooLate({ row }: Holding, command: Command): Step {
  const retirement = { reason: "purged", revoke: command.revoke !== "no" } as const;
  return doing({ access: "journal.insert rev", generation: row.generation, retirement }, () => revoked(row, command));
}
