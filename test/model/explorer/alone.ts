import { isTombstone } from "../actors/block.ts";
import type { Protocol } from "../command.ts";
import { onceEach, onceEachPair } from "./interning.ts";
import { isBlocked, isReblocked } from "./blocking.ts";
import type { Space } from "./space.ts";
import {
  currentKey,
  generationOfKey,
  isKilled,
  isLowered,
  isOwed,
  liveOperations,
  MADE_KEYS,
  MOST_GENERATIONS,
  savedHash,
} from "./world.ts";
import type { World } from "./world.ts";

/** I3 and I6: the future of a world in which all commands died and then one command runs alone, without faults. */
export class Alone {
  readonly #space: Space;
  readonly #ends = new Map<string, readonly number[] | null>();

  constructor(space: Space) {
    this.#space = space;
  }

  /** Judges a world in which all commands died. */
  readonly left = onceEach((world): { readonly violation: string | null } => ({
    violation:
      this.#afterReconcile(world) ??
      this.#afterReconcile(this.#space.afterGraces(world)) ??
      this.#afterPurge(world) ??
      this.#afterReplacement(world) ??
      this.#afterSync(world),
  }));

  /** I1: after all commands have ended without a death, the current key works, unless it was killed. */
  readonly atRest = onceEach((world): { readonly violation: string | null } => {
    const { current, live, killed } = this.#space.standing(world);
    const isDead = (current & MADE_KEYS & ~live & ~killed) !== 0;
    return { violation: isDead ? "I1 everybody is done, and the current key is dead" : null };
  });

  /** I6: an unfinished command ends when it runs alone. */
  readonly finishes = onceEachPair((world, entry): { readonly violation: string | null } => {
    const { late, command } = this.#space.entries.at(entry);
    if (late) return { violation: null };
    const ends = this.#endsOf(this.#space.calmed(world), entry);
    return { violation: ends === null ? `I6 ${command.kind} alone does not end` : null };
  });

  #afterReconcile(world: number): string | null {
    // A POST in flight has not failed yet, and may still arrive.
    if (this.#space.worlds.at(world).inFlight.length > 0) return null;
    const ends = this.#endsOf(world, this.#space.fresh("reconcile"));
    if (ends === null) return "I6 reconcile alone does not end";
    return firstOf(ends, (end) =>
      isReblocked(this.#space.worlds.at(world), this.#space.worlds.at(end))
        ? "I8 a reconcile blocks a user who was unblocked"
        : this.#survivor(end),
    );
  }

  /** I3: every key that is still listed is current, in its grace, or was retired without a revocation. */
  #survivor(number: number): string | null {
    const world = this.#space.worlds.at(number);
    const standing = this.#space.standing(number);
    if ((standing.guarded & ~standing.live) !== 0) return "I1 reconcile left a dead key in the row";
    const current = currentKey(world, this.#space.protocol);
    if (current !== null && isLowered(world, current) && standing.currentMade !== 0)
      return "I10 a reconcile does not restore the limit of the current key";
    const wiped = world.listed.find((hash) => hash !== current && world.wiped.includes(hash));
    if (wiped !== undefined) return `I9 key ${wiped} survives the end of every grace and a quiescent reconcile`;
    const left = world.listed.find((hash) => {
      const generation = generationOfKey(hash);
      const isOver = world.graced.includes(hash) && world.over.includes(generation);
      const retired = (world.retirements[generation] ?? null) !== null && !isOwed(world, generation) && !isOver;
      return (
        hash !== current &&
        !isProjectable(world, hash, this.#space.protocol) &&
        !(retired && savedHash(world.outcomes[generation]) === hash)
      );
    });
    return left === undefined ? null : `I3 key ${left} survives a quiescent reconcile`;
  }

  /**
   * I3: `purge --revoke` leaves no key that was created for the user. For a user without a row, no key at all remains;
   * for a user with a row, no key that was replaced or purged and kept. The others are left to reconcile.
   */
  #afterPurge(world: number): string | null {
    const { row, inFlight, spool } = this.#space.worlds.at(world);
    if (inFlight.length + spool.length > 0 || this.#space.protocol !== "row first") return null;
    const ends = this.#endsOf(world, this.#space.fresh("purge"));
    if (ends === null) return "I6 purge --revoke alone does not end";
    return firstOf(ends, (end) => {
      const { row: left, listed, outcomes, retirements } = this.#space.worlds.at(end);
      // The purge refuses a key that was saved by hand, and changes nothing.
      if (left !== null && !isTombstone(left)) return null;
      const survivor = listed.find((hash) => {
        const n = generationOfKey(hash);
        return (
          row === null || isTombstone(row) || (retirements[n]?.revoke === false && savedHash(outcomes[n]) === hash)
        );
      });
      return survivor === undefined ? null : `I3 key ${survivor} survives a purge --revoke`;
    });
  }

  /** I6: a dead current key can be replaced by a renewal, and by `leaked` as well: the same command again goes on. */
  #afterReplacement(world: number): string | null {
    const was = currentKey(this.#space.worlds.at(world), this.#space.protocol);
    if (!isKilled(this.#space.worlds.at(world), was)) return null;
    for (const kind of ["renew", "leaked"] as const) {
      const ends = this.#endsOf(this.#space.calmed(world), this.#space.fresh(kind, was));
      if (ends === null) return `I6 ${kind} alone does not end`;
      // The new key may be refused, which ends the command.
      const isReplaced = ends.some((end) => this.#isReplaced(end)) || this.#isFull(world);
      if (!isReplaced) return `I6 ${kind} alone cannot replace a dead key`;
    }
    return null;
  }

  #isReplaced(world: number): boolean {
    const { current, currentMade, live } = this.#space.standing(world);
    return current === 0 || (currentMade & live) !== 0;
  }

  #afterSync(world: number): string | null {
    const ends = this.#endsOf(this.#space.calmed(world), this.#space.fresh("sync"));
    if (ends === null) return "I6 a sync alone does not end";
    return firstOf(ends, (end) => {
      const { current, guarded, live, escapesBlock } = this.#space.standing(end);
      if (escapesBlock) return "I8 a sync of a blocked user ends with a key";
      if (current === 0) return this.#mayLackKey(end) ? null : "I6 a sync alone ends without a key";
      return (guarded & ~live) === 0 ? null : "I6 a sync alone ends with a dead key";
    });
  }

  #mayLackKey(end: number): boolean {
    const world = this.#space.worlds.at(end);
    return isBlocked(world) || world.blockRecorded || this.#isFull(end);
  }

  /** Whether the saved and open operations use up the cap. */
  #isFull(world: number): boolean {
    const { saved, open } = liveOperations(this.#space.worlds.at(world));
    return this.#space.cap !== null && saved + open >= this.#space.cap;
  }

  /** The worlds in which the command may end, without faults and without waiting; null if it may run forever. */
  #endsOf(world: number, entry: number): readonly number[] | null {
    if (entry === 0) return [world];
    const pair = `${world} ${entry}`;
    const known = this.#ends.get(pair);
    if (known !== undefined) return known;
    // Reaching this pair again from itself is a cycle.
    this.#ends.set(pair, null);
    const ends = this.#endsAfter(world, entry);
    this.#ends.set(pair, ends);
    return ends;
  }

  #endsAfter(world: number, entry: number): readonly number[] | null {
    const all = new Set<number>();
    for (const edge of this.#space.edges(world, entry)) {
      if (edge.fault !== null || edge.waits) continue;
      if (this.#space.worlds.at(edge.world).operations > MOST_GENERATIONS) return null;
      const ends = this.#endsOf(edge.world, edge.entry);
      if (ends === null) return null;
      for (const end of ends) all.add(end);
    }
    return [...all];
  }
}

/** The simpler protocol keeps a saved key without a row: the next sync projects it. */
function isProjectable({ row, operations, outcomes, retirements }: World, hash: string, protocol: Protocol): boolean {
  const isLast = savedHash(outcomes[operations]) === hash && !retirements[operations];
  return protocol !== "row first" && row === null && isLast;
}

function firstOf(ends: readonly number[], judge: (end: number) => string | null): string | null {
  for (const end of ends) {
    const violation = judge(end);
    if (violation !== null) return violation;
  }
  return null;
}
