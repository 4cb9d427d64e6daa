import type { Command } from "../command.ts";
import { Alone } from "./alone.ts";
import { entryOf } from "./entry.ts";
import { LATE_POST } from "./history.ts";
import type { Happening } from "./history.ts";
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
  /** A shortest history that leads there. */
  readonly history: readonly Happening[];
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

/** An actor, by its entry, and what it did; no edge: the upstream did something on its own. */
type Acted = { readonly actor: number; readonly edge: Edge };
type Taken = Acted | { readonly edge: null };
const ARRIVAL: Taken = { edge: null };

/** `after` is good only until the next visit. */
type Visit = (after: Int32Array, violation: string | null, taken: Taken) => void;

/** Visits every state that can be reached, breadth first, and judges each. */
export function explore(exploration: Exploration): Findings {
  return new Explorer(exploration).run();
}

class Explorer {
  readonly #exploration: Exploration;
  readonly #space: Space;
  readonly #alone: Alone;
  readonly #pasts = new Interning<Past>(JSON.stringify);
  readonly #table: StateTable;
  /** The one row that is written and looked up again and again. */
  readonly #draft: Int32Array;
  readonly #violations = new Map<string, Violation>();
  #wasteful = 0;

  constructor(exploration: Exploration) {
    const { commands, faults, setting } = exploration;
    this.#exploration = exploration;
    this.#space = new Space(setting, commands.some(({ spool }) => spool));
    this.#alone = new Alone(this.#space);
    // Each fault may leave one write on its way.
    this.#table = new StateTable(FIRST_ACTOR + commands.length + faults);
    this.#draft = new Int32Array(this.#table.width);
  }

  run(): Findings {
    this.#table.add(this.#firstRow(), -1);
    for (let state = 0; state < this.#table.size; state++) {
      const row = this.#table.row(state);
      const actors = actorsIn(row);
      this.#note(this.#judgeState(row, actors), state);
      if (this.#isOver()) break;
      this.#successors(row, actors, (after, violation, taken) => {
        if (this.#table.add(after, state) && taken.edge?.wasteful === true) this.#wasteful += 1;
        this.#note(violation, state, taken);
      });
      if (this.#isOver()) break;
    }
    return { states: this.#table.size, violations: this.#violations, wasteful: this.#wasteful };
  }

  #isOver(): boolean {
    return this.#exploration.all !== true && this.#violations.size > 0;
  }

  #note(violation: string | null, state: number, last?: Taken): void {
    if (violation === null) return;
    const invariant = violation.slice(0, 2);
    if (this.#violations.has(invariant)) return;
    this.#violations.set(invariant, { text: violation, history: this.#historyOf(state, last) });
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
    const row = this.#draft.fill(0);
    row[WORLD] = world;
    row[PAST] = past;
    row.set(actors, FIRST_ACTOR);
    row.subarray(FIRST_ACTOR, FIRST_ACTOR + actors.length).sort();
    return row;
  }

  #judgeState(row: Int32Array, actors: readonly number[]): string | null {
    const world = row[WORLD] ?? 0;
    for (const actor of actors) {
      const { violation } = this.#alone.finishes(world, actor);
      if (violation !== null) return violation;
    }
    return this.#alone.left(world).violation;
  }

  #successors(row: Int32Array, actors: readonly number[], visit: Visit): void {
    const world = row[WORLD] ?? 0;
    const past = row[PAST] ?? 0;
    const { faults, generations } = this.#exploration;
    const mayFail = this.#pasts.at(past).faults < faults;
    for (const [at, actor] of actors.entries()) {
      if (actor === actors[at - 1]) continue;
      const others = actors.filter((_, other) => other !== at);
      for (const edge of this.#space.edges(world, actor)) {
        if (edge.fault !== null && !mayFail) continue;
        if (edge.operations > generations) {
          // The budget of generations is spent: this actor is left to die here.
          visit(this.#rowOf(world, past, others), null, { actor, edge });
          continue;
        }
        this.#follow({ actor, edge }, past, others, visit);
      }
    }
    for (const landed of this.#space.landings(world)) visit(this.#rowOf(landed, past, actors), null, ARRIVAL);
  }

  #follow(taken: Acted, past: number, others: readonly number[], visit: Visit): void {
    const { edge } = taken;
    const since = this.#pastAfter(past, edge);
    const actors = this.#onlookers(edge, others);
    if (edge.entry !== 0) actors.push(edge.displaced ? this.#space.displaced(edge.entry) : edge.entry);
    if (edge.late !== 0) actors.push(edge.late);
    visit(this.#rowOf(edge.world, since, actors), edge.violation ?? this.#judgeKeys(edge.world, since), taken);
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

  /** The states from the first one to this one. */
  #pathTo(state: number): readonly Int32Array[] {
    const parent = this.#table.parentOf(state);
    return [...(parent < 0 ? [] : this.#pathTo(parent)), this.#table.row(state)];
  }

  #stepBetween(before: Int32Array, after: Int32Array): Taken {
    let taken: Taken | undefined;
    this.#successors(before, actorsIn(before), (row, _, step) => {
      if (row.every((number, at) => number === after[at])) taken ??= step;
    });
    if (taken === undefined) throw new Error("a state was reached from one that does not lead there");
    return taken;
  }

  #historyOf(state: number, last: Taken | undefined): readonly Happening[] {
    const path = this.#pathTo(state);
    const steps = path.slice(1).map((row, at) => this.#stepBetween(path[at] ?? row, row));
    const slots = this.#exploration.commands.map((one) => this.#space.entries.numberOf(entryOf(one)));
    return [...steps, ...(last === undefined ? [] : [last])].map((taken) => this.#happening(slots, taken));
  }

  /** Names the actor, which the states do not, and brings the slots of all actors up to date. */
  #happening(slots: number[], taken: Taken): Happening {
    if (taken.edge === null) return LATE_POST;
    const slot = slots.indexOf(taken.actor);
    const { edge, actor } = taken;
    const { command, late } = this.#space.entries.at(actor);
    for (const [at, entry] of slots.entries()) slots[at] = entry === 0 ? 0 : (this.#onlookers(edge, [entry])[0] ?? 0);
    slots[slot] = edge.displaced && edge.entry !== 0 ? this.#space.displaced(edge.entry) : edge.entry;
    if (edge.late !== 0) slots.push(edge.late);
    return { slot, command, late, access: edge.access, result: edge.result, fault: edge.fault };
  }
}

function actorsIn(row: Int32Array): number[] {
  const actors: number[] = [];
  for (let at = FIRST_ACTOR; at < row.length; at++) {
    const actor = row[at] ?? 0;
    if (actor !== 0) actors.push(actor);
  }
  return actors;
}
