import { Interning } from "./interning.ts";
import type { Edge, Space } from "./space.ts";
import { MADE_KEYS } from "./world.ts";

/** The part of a state that no store records: the number of faults so far, and the key sets for the invariants. */
interface Past {
  readonly faults: number;
  readonly returned: number;
  readonly purged: number;
  readonly decided: number;
}

/** The columns of a state: the number of its world, of its past, and of each unfinished actor, in ascending order. */
const WORLD = 0;
const PAST = 1;
const FIRST_ACTOR = 2;

/** An actor (its entry) and its step. Without an edge, the upstream changed by itself. */
export type Taken = Acted | { readonly edge: null; readonly event: string };
type Acted = { readonly actor: number; readonly edge: Edge };
const ARRIVAL: Taken = { edge: null, event: "upstream: a late POST arrives, or is lost" };
const GRACE_END: Taken = { edge: null, event: "time: a grace is over" };
const KILLING: Taken = { edge: null, event: "upstream: a person deletes or disables the key" };

/** `after` is valid only until the next visit. */
export type Visit = (after: Int32Array, violation: string | null, taken: Taken) => void;

/** The maximum number of faults and of opened generations in one history. */
export interface Limits {
  readonly faults: number;
  readonly generations: number;
}

/** Computes the successors of a state. */
export class Successors {
  readonly width: number;
  readonly #space: Space;
  readonly #limits: Limits;
  readonly #pasts = new Interning<Past>(JSON.stringify);
  /** One row that is reused for every state. */
  readonly #draft: Int32Array;

  constructor(space: Space, actors: number, limits: Limits) {
    this.#space = space;
    this.#limits = limits;
    // Each fault may leave one late write.
    this.width = FIRST_ACTOR + actors + limits.faults;
    this.#draft = new Int32Array(this.width);
  }

  /** The first state. The key that is stored at the start counts as handed out. */
  first(world: number, actors: readonly number[]): Int32Array {
    const returned = this.#space.standing(world).current;
    return this.#rowOf(world, this.#pasts.numberOf({ faults: 0, returned, purged: 0, decided: 0 }), actors);
  }

  of(row: Int32Array, visit: Visit): void {
    const world = worldIn(row);
    const past = row[PAST] ?? 0;
    const actors = actorsIn(row);
    const mayFail = this.#pasts.at(past).faults < this.#limits.faults;
    for (const [at, actor] of actors.entries()) {
      if (actor === actors[at - 1]) continue;
      const others = actors.filter((_, other) => other !== at);
      for (const edge of this.#space.edges(world, actor)) {
        if (edge.fault === null || mayFail) this.#follow({ actor, edge }, past, others, row, visit);
      }
    }
    for (const landed of this.#space.landings(world)) visit(this.#rowOf(landed, past, actors), null, ARRIVAL);
    for (const killed of this.#space.killings(world)) visit(this.#rowOf(killed, past, actors), null, KILLING);
    for (const { world: after, decided } of this.#space.graceEnds(world)) {
      const since = this.#pastAfter(past, { fault: null, returned: 0, purged: 0, decided });
      visit(this.#rowOf(after, since, actors), null, GRACE_END);
    }
  }

  /** The other actors after this step: their knowledge of the row may be outdated. */
  onlookers({ rowChange, beginsBlock, user }: Edge, others: readonly number[]): number[] {
    const { revised, gone, besideBlock, userOf } = this.#space;
    return others.map((one) => {
      if (one === 0 || userOf(one) !== user) return one;
      const seen = rowChange === "gone" ? gone(one) : rowChange === "revised" ? revised(one) : one;
      return beginsBlock ? besideBlock(seen) : seen;
    });
  }

  #follow(taken: Acted, past: number, others: readonly number[], before: Int32Array, visit: Visit): void {
    const { edge } = taken;
    if (edge.operations > this.#limits.generations) {
      // The limit of generations is reached: this actor dies here.
      visit(this.#rowOf(worldIn(before), past, others), null, taken);
      return;
    }
    const actors = this.onlookers(edge, others);
    if (edge.entry !== 0) actors.push(edge.entry);
    if (edge.late !== 0) actors.push(edge.late);
    const since = this.#pastAfter(past, edge);
    const violation = edge.violation ?? this.#judgeKeys(edge.world, since) ?? this.#judgeLists(edge, since);
    visit(this.#rowOf(edge.world, since, actors), violation, taken);
  }

  /** Actors of the same kind at the same place are interchangeable, so they are sorted. */
  #rowOf(world: number, past: number, actors: readonly number[]): Int32Array {
    const row = this.#draft.fill(0);
    row[WORLD] = world;
    row[PAST] = past;
    row.set(actors, FIRST_ACTOR);
    row.subarray(FIRST_ACTOR, FIRST_ACTOR + actors.length).sort();
    return row;
  }

  #pastAfter(
    past: number,
    { fault, returned, purged, decided }: Pick<Edge, "fault" | "returned" | "purged" | "decided">,
  ): number {
    if (fault === null && (returned | purged | decided) === 0) return past;
    const before = this.#pasts.at(past);
    return this.#pasts.numberOf({
      faults: before.faults + (fault === null ? 0 : 1),
      returned: before.returned | returned,
      purged: before.purged | purged,
      decided: before.decided | decided,
    });
  }

  /** Checks I1, I5, I7, I8, I10, C1 and the end of I13. */
  #judgeKeys(world: number, past: number): string | null {
    const { guarded, currentMade, live, graced, killed, ...found } = this.#space.standing(world);
    const { returned, purged, decided } = this.#pasts.at(past);
    if (found.overCap) return "C1 more keys were made than the cap allows";
    if ((currentMade & purged) !== 0) return "I5 a purged key is current again";
    if (found.escapesBlock) return "I8 a key is current for a blocked user";
    if (found.limitForgotten) return "I10 the current key has a lowered limit, and nothing says so";
    if (found.leaksAgain) return "I13 a leaked key that was contained is current again";
    const dead = (returned | guarded | graced) & MADE_KEYS & ~live & ~killed;
    if ((dead & graced & ~decided) !== 0) return "I7 a key died within its grace";
    if ((dead & ~decided) !== 0) return "I1 a key in use was deleted upstream";
    return (guarded & dead) === 0 ? null : "I1 the current key is dead upstream";
  }

  /** Checks the second half of I11. */
  #judgeLists({ detached, world }: Edge, past: number): string | null {
    const { current, graced } = this.#space.standing(world);
    const used = current | (graced & ~this.#pasts.at(past).decided);
    return (detached & used) === 0 ? null : "I11 a key in use was taken out of its guardrails or allow-lists";
  }
}

export function worldIn(row: Int32Array): number {
  return row[WORLD] ?? 0;
}

export function actorsIn(row: Int32Array): number[] {
  const actors: number[] = [];
  for (let at = FIRST_ACTOR; at < row.length; at++) {
    const actor = row[at] ?? 0;
    if (actor !== 0) actors.push(actor);
  }
  return actors;
}
