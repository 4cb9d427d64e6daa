import { CONTAINED } from "../actors/leaked.ts";
import { isPlace } from "../step.ts";
import type { Entry } from "./entry.ts";
import type { Transition } from "./transitions.ts";
import { currentKey, generationOfKey, isGivenBackLate, savedHash, withKeys } from "./world.ts";
import type { World } from "./world.ts";
import type { Protocol } from "../command.ts";

/**
 * I12: a renewal replaces only the key that was refused, and `leaked` only the key that leaked. Any number of them commits
 * one new key, and opens no operation beside it. I13: `leaked` opens an operation only after the leaked key is dead, and
 * reports a key as contained only when it is dead and not current; from then on it is never current again.
 */

/** What these invariants remember. `world` is the world after the transition. */
export function rememberingReplaced({ command, late }: Entry, world: World, transition: Transition): World {
  const { kind, about } = command;
  if (late || about === null) return world;
  const { access } = transition;
  if (opensOperation(transition)) {
    return { ...world, replacing: [...world.replacing, { generation: world.operations, about }] };
  }
  if (kind !== "leaked") return world;
  // Whether a key works that the protocol did not create is not known here.
  const isDisabled = access.access === "upstream.disable" && access.hash === about && generationOfKey(about) > 0;
  const killed = isDisabled && !world.live.includes(about) ? withKeys(world.killed, [about]) : world.killed;
  return isContained(transition)
    ? { ...world, killed, contained: withKeys(world.contained, [about]) }
    : { ...world, killed };
}

export function judgeReplacing(
  { command, late }: Entry,
  before: World,
  transition: Transition,
  protocol: Protocol,
): string | null {
  const after = transition.effect.world;
  const was = currentKey(before, protocol);
  const is = currentKey(after, protocol);
  const isOther = (one: World["replacing"][number]) =>
    savedHash(after.outcomes[one.generation]) === is && one.about !== was;
  if (is !== null && was !== is && after.replacing.some(isOther)) {
    return "I12 a key was replaced that was neither refused nor leaked";
  }
  const { kind, about } = command;
  if (late || about === null) return null;
  if (opensOperation(transition)) {
    if (isReplacement(before, was, about)) return "I12 an operation was opened beside the key that has replaced it";
    return kind === "leaked" && before.live.includes(about)
      ? "I13 a leaked key is about to be replaced, and still works"
      : null;
  }
  if (!isContained(transition)) return null;
  if (after.live.includes(about)) return "I13 a leaked key is reported as contained, and works";
  return is === about && !isGivenBackLate(after) ? "I13 a leaked key is reported as contained, and is current" : null;
}

function opensOperation({ access, effect }: Transition): boolean {
  return access.access === "journal.insert op" && effect.result === "won";
}

function isReplacement({ replacing, outcomes }: World, current: string | null, of: string): boolean {
  return (
    current !== null &&
    replacing.some(({ generation, about }) => about === of && savedHash(outcomes[generation]) === current)
  );
}

function isContained({ move }: Transition): boolean {
  return !("checked" in move) && !isPlace(move) && move.ended === CONTAINED.ended;
}
