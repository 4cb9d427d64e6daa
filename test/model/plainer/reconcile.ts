import type { Listed, Outcome, Records, Row } from "../accesses.ts";
import { removing } from "../actors/removal.ts";
import type { Command } from "../command.ts";
import { doing, ended, listOf, to, waiting } from "../step.ts";
import type { Move, Step } from "../step.ts";

/** The reconcile of the simpler protocol: LIST, journal, row; patched: LIST, row, journal. One read judges all keys. */
interface Read {
  readonly listed: readonly Listed[];
  readonly row: Row | null;
  readonly records: Records | null;
}

export function listAll(_: object, { protocol }: Command): Step {
  return doing({ access: "upstream.list" }, (listed) => {
    const nothing = { listed, row: null, records: null };
    return protocol === "outcome first" ? to(readJournal, nothing) : to(readTheRow, nothing);
  });
}

function readJournal(read: Read, { protocol }: Command): Step {
  return doing({ access: "journal.records" }, (records) =>
    protocol === "outcome first" ? to(readTheRow, { ...read, records }) : judged({ ...read, records }),
  );
}

function readTheRow(read: Read, { protocol }: Command): Step {
  return doing({ access: "row.find" }, (row) =>
    protocol === "outcome first" ? judged({ ...read, row }) : to(readJournal, { ...read, row }),
  );
}

/** The possible moves: an open operation is left alone, or counts as stale. */
function judged(read: Read): readonly Move[] {
  const { listed, row, records } = read;
  const [key, ...others] = listed;
  if (key === undefined || records === null) return [ended("reconciled")];
  const { generation, hash } = key;
  const rest = judged({ ...read, listed: others });
  const outcome = records.outcomes[generation] ?? null;
  if (outcome === null) return [...rest.map(waiting), to(plainAbandonOpen, read)];
  const retirement = records.retirements[generation] ?? null;
  if (!isSavedAs(outcome, hash)) return removed(key, rest);
  if (retirement?.revoke === true)
    return row?.hash === hash ? [to(plainFinishPurge, { ...read, row })] : removed(key, rest);
  if (retirement !== null || row?.hash === hash || (row === null && generation === lastSaved(records))) return rest;
  return [to(plainUndo, read)];
}

function removed({ hash }: Listed, rest: readonly Move[]): readonly Move[] {
  return rest.flatMap((after) => listOf(removing([hash], after)));
}

function lastSaved({ outcomes, retirements }: Records): number {
  return outcomes.findLastIndex(
    (outcome, generation) => typeof outcome === "object" && outcome !== null && !retirements[generation],
  );
}

function plainAbandonOpen(read: Read): Step {
  const { key, rest } = taken(read);
  return doing({ access: "journal.insert out", generation: key.generation, outcome: "abandoned" }, (stands) =>
    stands === "abandoned" ? removed(key, judged(rest)) : judged(rest),
  );
}

function plainFinishPurge(read: Read & { readonly row: Row }): Step {
  const { key, rest } = taken(read);
  return doing({ access: "row.remove", seen: read.row.version }, ({ answer }) =>
    answer === "done" ? removed(key, judged(rest)) : judged(rest),
  );
}

/** A superseded key or an interrupted rotation: this protocol cannot distinguish them. */
function plainUndo(read: Read): Step {
  const { key, rest } = taken(read);
  const retirement = { reason: "superseded", revoke: true, block: false } as const;
  return doing({ access: "journal.insert rev", generation: key.generation, retirement }, () =>
    removed(key, judged(rest)),
  );
}

function taken(read: Read): { readonly key: Listed; readonly rest: Read } {
  const [key, ...listed] = read.listed;
  if (key === undefined) throw new Error("there is no key left to judge");
  return { key, rest: { ...read, listed } };
}

function isSavedAs(outcome: Outcome, hash: string): boolean {
  return outcome !== "abandoned" && outcome.saved === hash;
}
