import type { Command } from "../command.ts";
import { Alone } from "./alone.ts";
import { entryOf } from "./entry.ts";
import { historyOf } from "./history.ts";
import type { Happening } from "./history.ts";
import { Space } from "./space.ts";
import type { Habits } from "./space.ts";
import { StateTable } from "./state-table.ts";
import { actorsIn, Successors, worldIn } from "./successors.ts";
import type { Limits, Taken } from "./successors.ts";
import type { Setting } from "./transitions.ts";
import type { World } from "./world.ts";

export interface Exploration extends Limits {
  readonly commands: readonly Command[];
  /** The settings of the commands that run after all others died. */
  readonly habits: Habits;
  readonly start: World;
  readonly setting: Setting;
  /** Continue after the first violation, to find all violated invariants. */
  readonly all?: boolean;
}

interface Violation {
  readonly text: string;
  /** A shortest history that leads to the violation. */
  readonly history: readonly Happening[];
}

export interface Findings {
  readonly states: number;
  /** The first violation of each invariant, by the name of the invariant. */
  readonly violations: ReadonlyMap<string, Violation>;
  /** The number of states that are reached by opening a paid operation although a current key exists. */
  readonly wasteful: number;
}

/**
 * Visits every reachable state, breadth first. It judges each step (I1, I2, I4, I5, I8), and each state as if all commands
 * died in it (I3, I6). So this covers any number of deaths at any point, although no death is simulated.
 */
export function explore({ commands, habits, start, setting, all = false, ...limits }: Exploration): Findings {
  const space = new Space(setting, habits);
  const alone = new Alone(space);
  const successors = new Successors(space, commands.length, limits);
  const table = new StateTable(successors.width);
  const entries = commands.map((one) => space.entries.numberOf(entryOf(one)));
  const violations = new Map<string, Violation>();
  let wasteful = 0;

  const note = (text: string | null, state: number, last?: Taken): void => {
    if (text === null || violations.has(invariantOf(text))) return;
    const history = historyOf(state, last, { table, successors, space, entries });
    violations.set(invariantOf(text), { text, history });
  };

  table.add(successors.first(space.worlds.numberOf(start), entries), -1);
  for (let state = 0; state < table.size; state++) {
    if (!all && violations.size > 0) break;
    const row = table.row(state);
    note(judgeState(row, alone), state);
    successors.of(row, (after, violation, taken) => {
      if (table.add(after, state) && taken.edge?.wasteful === true) wasteful += 1;
      note(violation, state, taken);
    });
  }
  return { states: table.size, violations, wasteful };
}

function judgeState(row: Int32Array, alone: Alone): string | null {
  const world = worldIn(row);
  const actors = actorsIn(row);
  for (const actor of actors) {
    const { violation } = alone.finishes(world, actor);
    if (violation !== null) return violation;
  }
  return alone.left(world).violation ?? (actors.length === 0 ? alone.atRest(world).violation : null);
}

function invariantOf(violation: string): string {
  return violation.split(" ")[0] ?? violation;
}
