import type { Hash, Listed, Records, Retirement } from "../accesses.ts";
import type { Command } from "../command.ts";
import { leaving } from "./block.ts";
import { isLimitWaiting, restoringLimit } from "./limit.ts";
import { revokeOwed } from "./owed.ts";
import { retiringPredecessor, superseded } from "./predecessor.ts";
import { spareStored } from "./removal.ts";
import { confirmingOutcome, found } from "./settle.ts";
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

function readRetirement({ row, listed }: Found, command: Command): Step {
  const after = judge(listed ?? []);
  return doing({ access: "journal.read rev", generation: row.generation }, (retirement) => {
    if (retirement !== null) return leaving({ row, blocks: retirement.block, done: after, lost: after }, command);
    // Only the clock tells whether the time of the full limit has come.
    return isLimitWaiting(row) ? [to(readRowForLimit, { after }), waiting(after)] : after;
  });
}

/** RESTORE LIMIT of the row as it is now. */
function readRowForLimit({ after }: { readonly after: Move }, command: Command): Step {
  const changed = to(readRowForLimit, { after });
  return doing({ access: "row.find" }, (row) =>
    row === null || !isLimitWaiting(row) ? after : restoringLimit({ row, done: after, changed, left: after }, command),
  );
}

/** Judges each listed key by records that are read for that key. */
export function judge(listed: readonly Listed[]): Move {
  return listed.length === 0 ? ended("reconciled") : to(judgeFirst, { listed });
}

function firstOf([key, ...rest]: readonly Listed[]): { readonly key: Listed; readonly rest: readonly Listed[] } {
  if (key === undefined) throw new Error("there is no key left to judge");
  return { key, rest };
}

type Verdict = "keep" | "undecided" | "decided against" | "owed" | "superseded" | "its grace is over";

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
        return revoking(listed, generation, records.retirements[generation] ?? null);
      case "superseded":
        return command.breach === "sup-no-grace"
          ? to(supersede, { listed, generation })
          : to(readNotes, { listed, generation });
      case "its grace is over":
        // Another clock may be late.
        return [to(oweRetired, { listed, generation }), waiting(judge(rest))];
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
  if (retirement !== null) return isGraceOver(generation, records) ? "its grace is over" : "keep";
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

/** A retiring key is marked for deletion before anything else. Then it is judged again. */
function oweRetired({ listed, generation }: JudgingOne): Step {
  return doing({ access: "journal.insert del", generation }, () => judge(listed));
}

function revoking(listed: readonly Listed[], generation: number, retirement: Retirement | null): Place {
  const { key, rest } = firstOf(listed);
  const blocks = retirement?.block === true;
  return to(revokeOwed, { key: { hash: key.hash, generation }, blocks, after: judge(rest) });
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

/** A rotation may have landed after the row was read, and its row may note a grace: RECORD OUTCOME, REVOKE PREDECESSOR. */
function readNotes(memory: JudgingOne, command: Command): Step {
  const { listed, generation } = memory;
  const again = judge(listed);
  return doing({ access: "row.find" }, (row) => {
    if (row === null || row.settled || row.previous?.generation !== generation) return to(supersede, memory);
    const saved = retiringPredecessor(row, again, command);
    return row.generation === 0 ? saved : confirmingOutcome(row, { saved, reverted: again });
  });
}

/** A later generation is saved, so this one can never become current again, and no row has its generation. */
function supersede({ listed, generation }: JudgingOne): Step {
  return doing({ access: "journal.insert rev", generation, retirement: superseded(true) }, (stands) =>
    stands.revoke ? revoking(listed, generation, null) : judge(listed),
  );
}

function isGraceOver(generation: number, { dues }: Records): boolean {
  return dues.some((due) => due.generation === generation && due.isOver);
}

function isSaved(outcome: Records["outcomes"][number], hash: Hash): boolean {
  return outcome !== null && outcome !== "abandoned" && outcome.saved === hash;
}
