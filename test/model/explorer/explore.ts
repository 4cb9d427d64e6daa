import { named } from "../accesses.ts";
import type { Command } from "../command.ts";
import { Alone } from "./alone.ts";
import { entryOf } from "./entry.ts";
import { Interning } from "./interning.ts";
import { Space } from "./space.ts";
import type { Edge } from "./space.ts";
import { StateTable } from "./state-table.ts";
import type { Setting } from "./transitions.ts";
import { MADE_KEYS } from "./world.ts";
import type { World } from "./world.ts";

export interface Exploration {
  readonly commands: readonly Command[];
  readonly start: World;
  readonly setting: Setting;
  /** How many faults may happen, and how many generations may be opened, in one history. */
  readonly faults: number;
  readonly generations: number;
  /** Go on after the first violation, to see which invariants fall. */
  readonly all?: boolean;
}

export interface Violation {
  readonly text: string;
  /** The shortest history that leads there, one access a line. */
  readonly history: readonly string[];
}

export interface Findings {
  readonly states: number;
  /** The first of each invariant, by its name. */
  readonly violations: ReadonlyMap<string, Violation>;
  /** How many states are reached by opening a paid operation beside a current key. */
  readonly wasteful: number;
}

/** What no store records: how much went wrong so far, and the sets of keys that the invariants ask about. */
interface Past {
  readonly faults: number;
  readonly returned: number;
  readonly purged: number;
  readonly decided: number;
}

/** A state in its table: the number of its world, of its past, and of each unfinished actor, in order. */
const WORLD = 0;
const PAST = 1;
const FIRST_ACTOR = 2;

/** Visits every state that can be reached, breadth first, and judges each. */
export function explore(exploration: Exploration): Findings {
  return new Explorer(exploration).run();
}

class Explorer {
  readonly #exploration: Exploration;
  readonly #space: Space;
  readonly #alone: Alone;
  readonly #pasts = new Interning<Past>((past) => JSON.stringify(past));
  readonly #table: StateTable;
  readonly #violations = new Map<string, Violation>();
  #wasteful = 0;

  constructor(exploration: Exploration) {
    const { commands, faults, setting } = exploration;
    this.#exploration = exploration;
    this.#space = new Space(setting, commands.some(({ spool }) => spool));
    this.#alone = new Alone(this.#space);
    // Each fault may leave one write on its way.
    this.#table = new StateTable(FIRST_ACTOR + commands.length + faults);
  }

  run(): Findings {
    this.#table.add(this.#firstRow(), -1);
    for (let state = 0; state < this.#table.size; state++) {
      const row = this.#table.row(state);
      this.#note(this.#judgeState(row), () => this.#historyOf(state));
      if (this.#isOver()) break;
      this.#successors(row, (after, violation, edge) => {
        if (this.#table.add(after, state) && edge?.wasteful === true) this.#wasteful += 1;
        this.#note(violation, () => [...this.#historyOf(state), this.#labelOf(edge, row)]);
      });
      if (this.#isOver()) break;
    }
    return { states: this.#table.size, violations: this.#violations, wasteful: this.#wasteful };
  }

  #isOver(): boolean {
    return this.#exploration.all !== true && this.#violations.size > 0;
  }

  #note(violation: string | null, history: () => readonly string[]): void {
    if (violation === null) return;
    const invariant = violation.slice(0, 2);
    if (!this.#violations.has(invariant)) this.#violations.set(invariant, { text: violation, history: history() });
  }

  #firstRow(): Int32Array {
    const { commands, start } = this.#exploration;
    const past = this.#pasts.numberOf({ faults: 0, returned: 0, purged: 0, decided: 0 });
    const world = this.#space.worlds.numberOf(start);
    // What is stored at the start was handed out before it.
    const returned = this.#pasts.numberOf({ ...this.#pasts.at(past), returned: this.#space.standing(world).current });
    return this.#rowOf(world, returned, commands.map((one) => this.#space.entries.numberOf(entryOf(one))));
  }

  /** Actors of one kind at one place are interchangeable, so their order is dropped. */
  #rowOf(world: number, past: number, actors: readonly number[]): Int32Array {
    const row = new Int32Array(this.#table.width);
    row[WORLD] = world;
    row[PAST] = past;
    row.set(actors.toSorted((a, b) => b - a), FIRST_ACTOR);
    return row;
  }

  #judgeState(row: Int32Array): string | null {
    const world = row[WORLD] ?? 0;
    for (const actor of actorsIn(row)) {
      const { violation } = this.#alone.finishes(world, actor);
      if (violation !== null) return violation;
    }
    return this.#alone.left(world).violation;
  }

  #successors(row: Int32Array, visit: (after: Int32Array, violation: string | null, edge: Edge | null) => void): void {
    const [world = 0, past = 0] = row;
    const actors = actorsIn(row);
    const { faults, generations } = this.#exploration;
    const mayFail = this.#pasts.at(past).faults < faults;
    for (const [at, actor] of actors.entries()) {
      if (actors.indexOf(actor) !== at) continue;
      const others = actors.toSpliced(at, 1);
      for (const edge of this.#space.edges(world, actor)) {
        if (edge.fault !== null && !mayFail) continue;
        if (this.#space.worlds.at(edge.world).operations > generations) {
          // The budget of generations is spent: this actor is left to die here.
          visit(this.#rowOf(world, past, others), null, edge);
          continue;
        }
        this.#follow(edge, past, others, visit);
      }
    }
    for (const landed of this.#space.landings(world)) visit(this.#rowOf(landed, past, actors), null, null);
  }

  #follow(
    edge: Edge,
    past: number,
    others: readonly number[],
    visit: (after: Int32Array, violation: string | null, edge: Edge) => void,
  ): void {
    const since = this.#pastAfter(past, edge);
    const actors = this.#onlookers(edge, others);
    if (edge.entry !== 0) actors.push(edge.displaced ? this.#space.displaced(edge.entry) : edge.entry);
    if (edge.late !== 0) actors.push(edge.late);
    visit(this.#rowOf(edge.world, since, actors), edge.violation ?? this.#judgeKeys(edge.world, since), edge);
  }

  #onlookers({ rowChange, displaced }: Edge, others: readonly number[]): number[] {
    const { revised, gone, displaced: touched } = this.#space;
    const seen = others.map((one) => (rowChange === "gone" ? gone(one) : rowChange === "revised" ? revised(one) : one));
    return displaced ? seen.map((one) => touched(one)) : seen;
  }

  #pastAfter(past: number, { fault, returned, purged, decided }: Edge): number {
    if (fault === null && (returned | purged | decided) === 0) return past;
    const before = this.#pasts.at(past);
    return this.#pasts.numberOf({
      faults: before.faults + (fault === null ? 0 : 1),
      returned: before.returned | returned,
      purged: before.purged | purged,
      decided: before.decided | decided,
    });
  }

  /** I1 and I5. */
  #judgeKeys(world: number, past: number): string | null {
    const { currentMade, live } = this.#space.standing(world);
    const { returned, purged, decided } = this.#pasts.at(past);
    if ((currentMade & purged) !== 0) return "I5 a purged key is current again";
    const dead = (returned | currentMade) & MADE_KEYS & ~live;
    if ((dead & ~decided) !== 0) return "I1 a key in use was deleted upstream";
    return (currentMade & dead) === 0 ? null : "I1 the current key is dead upstream";
  }

  #historyOf(state: number): readonly string[] {
    const parent = this.#table.parentOf(state);
    if (parent < 0) return [];
    const row = this.#table.row(state);
    const before = this.#table.row(parent);
    let label = "?";
    this.#successors(before, (after, _, edge) => {
      if (label === "?" && after.every((number, at) => number === row[at])) label = this.#labelOf(edge, before);
    });
    return [...this.#historyOf(parent), label];
  }

  #labelOf(edge: Edge | null, before: Int32Array): string {
    if (edge === null) return "upstream: a late POST arrives, or is lost";
    const world = before[WORLD] ?? 0;
    const actor = actorsIn(before).find((one) => this.#space.edges(world, one).includes(edge)) ?? 0;
    const { command, late } = this.#space.entries.at(actor);
    const who = `${command.kind}${command.key === null ? "" : ` ${command.key}`}${late ? ", late" : ""}`;
    return `${who}: ${named(edge.access)}${edge.fault === null ? "" : `: ${edge.fault}`}`;
  }
}

function actorsIn(row: Int32Array): number[] {
  const end = row.indexOf(0, FIRST_ACTOR);
  return [...row.subarray(FIRST_ACTOR, end === -1 ? row.length : end)];
}
