import type { Hash } from "../accesses.ts";
import { command } from "../command.ts";
import type { Command, Protocol } from "../command.ts";
import { isPlace, keyOf } from "../step.ts";
import type { Place } from "../step.ts";
import { withCreated, withoutDeleted } from "./effects.ts";
import type { Effect } from "./effects.ts";
import { entryOf, outdated } from "./entry.ts";
import type { Entry, RowChange } from "./entry.ts";
import { Interning, onceEach, onceEachPair } from "./interning.ts";
import { judgeTransition, remembering } from "./judgement.ts";
import type { Judgement } from "./judgement.ts";
import { transitionsOf } from "./transitions.ts";
import type { Setting, Transition } from "./transitions.ts";
import {
  asSeenBy,
  bitOf,
  bitsOf,
  currentContent,
  currentKey,
  generationOfKey,
  isGivenBackLate,
  isLimitForgotten,
  keyOfGeneration,
  keysTowardsCap,
  MADE_KEYS,
  withGraceOver,
  withKeys,
  withoutKey,
} from "./world.ts";
import type { World } from "./world.ts";

/** A transition between numbered worlds and entries. */
export interface Edge extends Judgement {
  readonly world: number;
  /** The entry afterwards; 0 if the command has ended. */
  readonly entry: number;
  /** The entry of a late write; 0 without one. */
  readonly late: number;
  readonly rowChange: RowChange;
  readonly fault: string | null;
  readonly waits: boolean;
  readonly access: Transition["access"];
  readonly result: Effect["result"];
  /** The user of the key. */
  readonly user: number;
  /** The number of generations that were opened so far. */
  readonly operations: number;
}

/** The facts about a world that the invariants need, as sets of keys. */
export interface Standing {
  readonly current: number;
  /**
   * The current key if it was created here, by whichever command it got into the row; only a late `purge --revoke` may
   * end it.
   */
  readonly guarded: number;
  /** The current key if it was stored with its generation, not as a given key. */
  readonly currentMade: number;
  readonly live: number;
  /** The keys that were replaced with a grace. */
  readonly graced: number;
  /** Whether the current key's limit is lowered, and nothing says so. */
  readonly limitForgotten: boolean;
  /** Whether a key is current although a block stands. */
  readonly escapesBlock: boolean;
  /** Whether more keys were created than the cap allows. */
  readonly overCap: boolean;
  /** The keys that a person or `leaked` has killed. */
  readonly killed: number;
  /** Whether a key is current that was reported as contained. */
  readonly leaksAgain: boolean;
}

/** The settings that all commands of one exploration share. */
export type Habits = Pick<Command, "spool" | "split" | "breach" | "protocol" | "cap" | "restrictions">;

/**
 * All worlds and all entries, numbered. The moves of an actor depend only on its own entry and the world. So each pair
 * is computed once, even if it occurs in many states. Therefore the actors can be written for readability instead of
 * speed.
 */
export class Space {
  readonly worlds = new Interning<World>(JSON.stringify);
  readonly entries = new Interning<Entry>(keyOf);
  readonly #setting: Setting;
  readonly protocol: Protocol;
  readonly cap: number | null;
  readonly #habits: Habits;

  constructor(setting: Setting, habits: Habits) {
    this.#setting = setting;
    this.protocol = setting.protocol;
    this.cap = habits.cap;
    this.#habits = habits;
  }

  readonly edges = onceEachPair((world: number, entry: number): readonly Edge[] => {
    const actor = this.entries.at(entry);
    const here = asSeenBy(actor.command.user, this.worlds.at(world));
    return transitionsOf(actor, here, this.#setting).map((transition) => this.#edge(actor, here, transition));
  });

  readonly standing = onceEach((number): Standing => {
    const world = this.worlds.at(number);
    const current = bitOf(currentKey(world, this.protocol));
    return {
      current,
      guarded: isGivenBackLate(world) ? 0 : current & MADE_KEYS & ~bitsOf(world.killed),
      currentMade: currentContent(world, this.protocol) === null ? 0 : current & MADE_KEYS,
      live: bitsOf(world.live),
      graced: bitsOf(world.graced),
      limitForgotten: isLimitForgotten(world, this.protocol),
      escapesBlock: world.block === "stands" && current !== 0,
      overCap: keysTowardsCap(world) > (this.cap ?? Number.POSITIVE_INFINITY),
      killed: bitsOf(world.killed),
      leaksAgain: !isGivenBackLate(world) && (current & bitsOf(world.contained)) !== 0,
    };
  });

  /** The worlds in which a person has deleted the mortal key upstream, or has disabled it. */
  readonly killings = onceEach((number): readonly number[] => {
    const world = this.worlds.at(number);
    const { mortal } = this.#setting;
    if (mortal === null || !world.live.includes(mortal)) return [];
    const killed = { ...world, live: withoutKey(world.live, mortal), killed: withKeys(world.killed, [mortal]) };
    return [withoutDeleted(mortal, killed), killed].map((after) => this.worlds.numberOf(after));
  });

  /** The worlds in which one POST in flight has arrived or is lost. */
  readonly landings = onceEach((number): readonly number[] => {
    const world = this.worlds.at(number);
    return [...new Set(world.inFlight)].flatMap((generation) => {
      const at = world.inFlight.indexOf(generation);
      const lost = { ...world, inFlight: world.inFlight.toSpliced(at, 1) };
      return [withCreated(lost, [keyOfGeneration(generation)]), lost].map((after) => this.worlds.numberOf(after));
    });
  });

  /** The worlds in which one more grace is over, and the key whose end that decides. */
  readonly graceEnds = onceEach((number): readonly { readonly world: number; readonly decided: number }[] => {
    const world = this.worlds.at(number);
    return this.#endingGraces(world).map(({ hash, decides }) => ({
      world: this.worlds.numberOf(withGraceOver(world, [generationOfKey(hash)])),
      decided: decides ? bitOf(hash) : 0,
    }));
  });

  /** A grace begins with the commit. The breach "grace-from-swap" counts it from the write of the row. */
  #endingGraces(world: World): readonly { readonly hash: Hash; readonly decides: boolean }[] {
    const previous = this.#habits.breach === "grace-from-swap" ? (world.row?.previous ?? null) : null;
    const isEarly =
      previous !== null && previous.graceMs !== null && currentKey(world, this.protocol) === previous.hash;
    return [
      ...world.graced.map((hash) => ({ hash, decides: true })),
      ...(isEarly ? [{ hash: previous.hash, decides: false }] : []),
    ].filter(({ hash }) => !world.over.includes(generationOfKey(hash)));
  }

  /** The world in which every grace is over; the same world without one. */
  readonly afterGraces = onceEach((number) => {
    const world = this.worlds.at(number);
    return this.worlds.numberOf(withGraceOver(world, world.graced.map(generationOfKey)));
  });

  /** The world without POSTs in flight. */
  readonly calmed = onceEach((number) => this.worlds.numberOf({ ...this.worlds.at(number), inFlight: [] }));

  readonly userOf = onceEach((entry) => this.entries.at(entry).command.user);
  readonly revised = onceEach((entry) => this.entries.numberOf(outdated(this.entries.at(entry), "revised")));
  readonly gone = onceEach((entry) => this.entries.numberOf(outdated(this.entries.at(entry), "gone")));

  /** The entry after a purge has recorded or placed a block. */
  readonly besideBlock = onceEach((number) => {
    const entry = this.entries.at(number);
    return entry.besideBlock === false ? this.entries.numberOf({ ...entry, besideBlock: true }) : number;
  });

  fresh(kind: "sync" | "reconcile" | "purge" | "renew" | "leaked", about: Hash | null = null): number {
    return this.entries.numberOf(entryOf(command(kind, { ...this.#habits, revoke: "ours", about })));
  }

  #edge(entry: Entry, before: World, transition: Transition): Edge {
    const { effect, move, late, access } = transition;
    const besideBlock = entry.command.kind === "unblock" ? access.access !== "row.find" && entry.besideBlock : null;
    const after =
      "checked" in move
        ? { ...entry, checked: true }
        : isPlace(move)
          ? { ...entry, besideBlock, checked: false, place: reached(move) }
          : null;
    const { user } = entry.command;
    const judgement = judgeTransition(entry, before, transition, this.protocol);
    return {
      ...judgement,
      // The sets of keys are about user 0 only.
      ...(user === 0 ? {} : { returned: 0, purged: 0, decided: 0, detached: 0 }),
      user,
      world: this.worlds.numberOf(asSeenBy(user, remembering(entry, before, transition, this.protocol))),
      entry: after === null ? 0 : this.entries.numberOf(after),
      late: late === null ? 0 : this.entries.numberOf(late),
      rowChange: transition.rowChange,
      fault: effect.fault,
      waits: !("checked" in move) && move.waits,
      access,
      result: effect.result,
      operations: effect.world.operations,
    };
  }
}

/** The place as it is reached: why the actor may be there, or leave, no longer matters. */
function reached({ step, memory }: Place): Place {
  return { step, memory, waits: false, mayEnd: false };
}
