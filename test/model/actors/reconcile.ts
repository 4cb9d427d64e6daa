import type { Hash, Listed, Outcome, Previous, Records } from "../accesses.ts";
import type { Command } from "../command.ts";
import { lookForRemoval } from "./read-back.ts";
import { removing, spareStored } from "./removal.ts";
import { found, revert } from "./settle.ts";
import type { Found } from "./settle.ts";
import { doing, ended, to, waiting } from "../step.ts";
import type { Move, Place, Step } from "../step.ts";

/**
 * **Order:** list upstream, read the row, then read the records of each listed key. A key that is listed before its
 * records are read had its `op` before that. Every fact used here is written once and never changes. A missing record
 * leads to an action only after an insert was won.
 */
interface Judging {
  readonly listed: readonly Listed[];
}

/** Lists upstream before anything else is read. */
export function listUpstream(): Step {
  return doing({ access: "upstream.list" }, (listed) => to(readRowAfterList, { listed }));
}

/** Reads the row after the list. A row found leads to SETTLE. */
export function readRowAfterList({ listed }: Judging, command: Command): Step {
  return doing({ access: "row.find" }, (row) => (row === null ? judge(listed) : found({ row, listed }, command)));
}

/** If the generation of a settled row is retired, a purge died before it removed the row. */
export function isPurgePending({ row, listed }: Found): Move {
  return row.generation === 0 ? judge(listed ?? []) : to(readRetirement, { row, listed });
}

function readRetirement({ row, listed }: Found): Step {
  return doing({ access: "journal.read rev", generation: row.generation }, (retirement) =>
    retirement === null ? judge(listed ?? []) : to(finishPurge, { row, listed }),
  );
}

function finishPurge({ row, listed }: Found): Step {
  const after = judge(listed ?? []);
  return doing({ access: "row.remove", seen: row.version }, ({ answer }) =>
    answer === "unanswered" ? lookForRemoval({ seen: row.version, done: after, lost: after }) : after,
  );
}

/** Judges each listed key by records that are read for that key. */
function judge(listed: readonly Listed[]): Move {
  return listed.length === 0 ? ended("reconciled") : to(judgeFirst, { listed });
}

function firstOf([key, ...rest]: readonly Listed[]): { readonly key: Listed; readonly rest: readonly Listed[] } {
  if (key === undefined) throw new Error("there is no key left to judge");
  return { key, rest };
}

type Verdict = "keep" | "undecided" | "decided against" | "owed" | "superseded";

function judgeFirst({ listed }: Judging, command: Command): Step {
  const { key, rest } = firstOf(listed);
  return doing({ access: "journal.records" }, (records) => {
    const generation = generationOf(key, records);
    switch (verdictOn(key.hash, generation, records, command)) {
      case "keep":
        return judge(rest);
      case "undecided":
        // Only the clock distinguishes a fresh operation from a stale one.
        return [waiting(judge(rest)), stale(listed, generation, command)];
      case "decided against":
        return to(spareStored, { hashes: [key.hash], after: judge(rest) });
      case "owed":
        return to(revokeOwed, { listed, generation });
      case "superseded":
        return to(supersede, { listed, generation });
    }
  });
}

/** The generation whose outcome recorded this hash, whatever the key's name is; else the generation in the name. */
function generationOf({ hash, generation }: Listed, { outcomes }: Records): number {
  const recorded = outcomes.findIndex((outcome) => isSaved(outcome, hash));
  return recorded === -1 ? generation : recorded;
}

function verdictOn(hash: Hash, generation: number, records: Records, { breach }: Command): Verdict {
  const outcome = records.outcomes[generation] ?? null;
  if (breach === "delete-unrecorded" && !isSaved(outcome, hash)) return "decided against";
  if (outcome === null) return "undecided";
  if (!isSaved(outcome, hash)) return "decided against";
  const retirement = records.retirements[generation] ?? null;
  if (retirement?.revoke === true || records.owedAfterAll.includes(generation)) return "owed";
  if (retirement !== null) return "keep";
  const later = records.outcomes.slice(generation + 1).some((one) => one !== null && one !== "abandoned");
  const eager = breach === "eager-supersede" && records.operations > generation;
  return later || eager ? "superseded" : "keep";
}

/** **Order:** abandon the generation, then delete its key. */
function stale(listed: readonly Listed[], generation: number, { breach }: Command): Place {
  const { key, rest } = firstOf(listed);
  if (breach === "delete-before-abandon") return to(spareStored, { hashes: [key.hash], after: judge(rest) });
  return to(abandonStale, { listed, generation });
}

interface JudgingOne extends Judging {
  readonly generation: number;
}

function abandonStale({ listed, generation }: JudgingOne): Step {
  const { key, rest } = firstOf(listed);
  return doing({ access: "journal.insert out", generation, outcome: "abandoned" }, (stands) =>
    stands === "abandoned" ? to(spareStored, { hashes: [key.hash], after: judge(rest) }) : judge(listed),
  );
}

/** A later generation is saved, so this one can never become current again. */
function supersede({ listed, generation }: JudgingOne): Step {
  const retirement = { reason: "superseded", revoke: true } as const;
  return doing({ access: "journal.insert rev", generation, retirement }, (stands) =>
    stands.revoke ? to(revokeOwed, { listed, generation }) : judge(listed),
  );
}

/** **Order:** a row that still holds the key is removed before the key is deleted. */
function revokeOwed({ listed, generation }: JudgingOne, command: Command): Step {
  const { key, rest } = firstOf(listed);
  return doing({ access: "row.find" }, (row) => {
    if (row?.generation === generation || (row?.generation === 0 && row.hash === key.hash)) {
      return withoutNote({ row, listed, generation }, command);
    }
    const undecided = row !== null && row.generation > 0 && !row.settled && row.previous?.generation === generation;
    return undecided ? to(readSuccessor, { row, listed, generation }) : removing([key.hash], judge(rest));
  });
}

interface RevokingOne extends JudgingOne, Found {
  readonly listed: readonly Listed[];
}

/** REVOKE PREDECESSOR, which precedes every removal of a row: else the row's note about its predecessor is lost. */
function withoutNote(memory: RevokingOne, { breach }: Command): Move {
  const { previous } = memory.row;
  const isNoted = previous !== null && previous.generation > 0 && breach !== "owed-drops-note";
  return isNoted ? to(retireNoted, { ...memory, previous }) : to(removeOwed, memory);
}

interface Noted extends RevokingOne {
  readonly previous: Previous;
}

function retireNoted({ previous, ...memory }: Noted): Step {
  const { generation, revoke } = previous;
  const retirement = { reason: "superseded", revoke } as const;
  return doing({ access: "journal.insert rev", generation, retirement }, (stands) =>
    revoke && !stands.revoke ? to(oweNoted, { ...memory, previous }) : to(removeOwed, memory),
  );
}

function oweNoted({ previous, ...memory }: Noted): Step {
  return doing({ access: "journal.insert del", generation: previous.generation }, () => to(removeOwed, memory));
}

function removeOwed({ row, listed, generation }: RevokingOne): Step {
  const after = to(revokeOwed, { listed, generation });
  return doing({ access: "row.remove", seen: row.version }, ({ answer }) =>
    answer === "unanswered" ? lookForRemoval({ seen: row.version, done: after, lost: after }) : after,
  );
}

/** The row may still be reverted to this key. RECORD OUTCOME decides, as for every actor that reads the row. */
function readSuccessor(memory: RevokingOne): Step {
  return doing({ access: "journal.read out", generation: memory.row.generation }, (outcome) =>
    outcome === null ? to(helpSuccessor, memory) : successorDecided(memory, outcome),
  );
}

function helpSuccessor(memory: RevokingOne): Step {
  const { row } = memory;
  return doing({ access: "journal.insert out", generation: row.generation, outcome: { saved: row.hash } }, (stands) =>
    successorDecided(memory, stands),
  );
}

function successorDecided(memory: RevokingOne, outcome: Outcome): Move {
  const { key, rest } = firstOf(memory.listed);
  return outcome === "abandoned" ? to(revertSuccessor, memory) : removing([key.hash], judge(rest));
}

function revertSuccessor({ row, listed, generation }: RevokingOne, command: Command): Step {
  return revert(row, command, to(revokeOwed, { listed, generation }));
}

function isSaved(outcome: Records["outcomes"][number], hash: Hash): boolean {
  return outcome !== null && outcome !== "abandoned" && outcome.saved === hash;
}
