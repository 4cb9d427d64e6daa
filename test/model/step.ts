import type { Access, Hash, Results, Row } from "./accesses.ts";
import type { Command } from "./command.ts";

/**
 * An actor stands at a place: a step and all that it remembers there. The step makes exactly one access, and its answer decides
 * the next place. Places are data, so that the explorer can tell two of them apart, and so that a recorded run can be held
 * against them.
 */
export interface Place {
  readonly step: StepFunction<never>;
  readonly memory: object;
  /** Chosen while the clock says that an operation is fresh. Nothing that is proved to end may rest on waiting. */
  readonly waits: boolean;
  /** Patience is bounded: a command that would wait here, or start over, may end instead. The explorer sees a death in that. */
  readonly mayEnd: boolean;
}

export type StepFunction<Memory extends object> = (memory: Memory, command: Command) => Step;

export interface Step {
  readonly access: Access;
  readonly next: (result: never) => Moves;
  /** Where it goes when the access certainly did not happen and no attempt is left. Without it the command ends there. */
  readonly otherwise: (() => Moves) | null;
}

/** The end of a command, with the key that it handed out. */
export interface Ended {
  readonly ended: string;
  readonly returned: Hash | null;
  readonly waits: boolean;
}

export type Move = Place | Ended;
/** Several: what comes next is the actor's own choice (its clock, its patience), not an answer. */
export type Moves = Move | readonly Move[];

/** What a step remembers when it is about a row that was read. */
export interface Holding {
  readonly row: Row;
}

export function to<Memory extends object>(step: StepFunction<Memory>, memory: Memory): Place {
  return { step, memory, waits: false, mayEnd: false };
}

export function bounded(place: Place): Place {
  return { ...place, mayEnd: true };
}

export function waiting<Next extends Move>(move: Next): Next {
  return { ...move, waits: true };
}

export function ended(how: string, returned: Hash | null = null): Ended {
  return { ended: how, returned, waits: false };
}

/** A write whose answer was lost, where no rule says how to go on: exit 7, the rest is for whoever comes next. */
export const UNSURE = ended("the store did not answer");

export function doing<Asked extends Access>(
  access: Asked,
  next: (result: Results[Asked["access"]]) => Moves,
  otherwise: (() => Moves) | null = null,
): Step {
  return { access, next, otherwise };
}

export function stepAt(place: Place, command: Command): Step {
  // `to` has paired the step with the memory that it asks for.
  return place.step(place.memory as never, command);
}

export function movesAfter(step: Step, result: unknown): readonly Move[] {
  // Whoever calls has the result of this very access.
  return listOf(step.next(result as never));
}

export function movesWithout(step: Step): readonly Move[] {
  return step.otherwise === null ? [] : listOf(step.otherwise());
}

export function isPlace(move: Move): move is Place {
  return "step" in move;
}

/** Steps are told apart by their names; two steps of one name would be taken for one. */
const steps = new Map<string, unknown>();

/** One text for all things that are equal, places among them. */
export function keyOf(thing: unknown): string {
  return JSON.stringify(thing, (_, value: unknown) => {
    if (typeof value !== "function") return value;
    const known = steps.get(value.name) ?? value;
    if (known !== value) throw new Error(`two steps have the name ${value.name}`);
    steps.set(value.name, value);
    return value.name;
  });
}

export function listOf(moves: Moves): readonly Move[] {
  return Array.isArray(moves) ? moves : [moves as Move];
}
