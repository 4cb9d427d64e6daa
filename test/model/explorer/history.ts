import { named } from "../accesses.ts";
import type { Access } from "../accesses.ts";
import type { Command } from "../command.ts";
import type { Effect } from "./effects.ts";
import type { Space } from "./space.ts";
import type { StateTable } from "./state-table.ts";
import type { Successors, Taken } from "./successors.ts";

/** One access in a history. */
export interface Happening {
  /** The index of the command, from 0. Late writes have their own slots after the commands. */
  readonly slot: number;
  readonly command: Command | null;
  readonly late: boolean;
  readonly access: Access | null;
  readonly result: Effect["result"];
  /** The fault, if there was one. For an event without a command, what happened. */
  readonly fault: string | null;
}

interface Explored {
  readonly table: StateTable;
  readonly successors: Successors;
  readonly space: Space;
  /** The entries of the commands at their start. */
  readonly entries: readonly number[];
}

/**
 * The history that leads to a state, and optionally one more step. States do not identify their actors, so the steps
 * are repeated.
 */
export function historyOf(state: number, last: Taken | undefined, explored: Explored): readonly Happening[] {
  const path = pathTo(state, explored.table);
  const steps = path.slice(1).map((row, at) => stepBetween(path[at] ?? row, row, explored));
  const slots = [...explored.entries];
  return [...steps, ...(last === undefined ? [] : [last])].map((taken) => happening(slots, taken, explored));
}

/** The states from the first one up to this one. */
function pathTo(state: number, table: StateTable): readonly Int32Array[] {
  const parent = table.parentOf(state);
  return [...(parent < 0 ? [] : pathTo(parent, table)), table.row(state)];
}

function stepBetween(before: Int32Array, after: Int32Array, { successors }: Explored): Taken {
  let taken: Taken | undefined;
  successors.of(before, (row, _, step) => {
    if (row.every((number, at) => number === after[at])) taken ??= step;
  });
  if (taken === undefined) throw new Error("a state was reached from one that does not lead there");
  return taken;
}

/** Identifies the actor and updates the slots of all actors. An actor that has ended has 0. */
function happening(slots: number[], taken: Taken, { successors, space }: Explored): Happening {
  if (taken.edge === null)
    return { slot: -1, command: null, late: false, access: null, result: null, fault: taken.event };
  const { edge, actor } = taken;
  const slot = slots.indexOf(actor);
  const { command, late } = space.entries.at(actor);
  for (const [at, entry] of slots.entries())
    slots[at] = entry === 0 ? 0 : (successors.onlookers(edge, [entry])[0] ?? 0);
  slots[slot] = edge.entry;
  if (edge.late !== 0) slots.push(edge.late);
  return { slot, command, late, access: edge.access, result: edge.result, fault: edge.fault };
}

/** The history as readable text, one access a line. */
export function told(history: readonly Happening[]): readonly string[] {
  return history.map(({ slot, command, late, access, result, fault }) => {
    if (command === null || access === null) return fault ?? "";
    const who = late ? `${command.kind}, late` : `${command.kind} (${slot + 1})`;
    return `${who}: ${named(access)} -> ${fault ?? JSON.stringify(result)}`;
  });
}
