import type { Access, Hash, Results, Row } from "./accesses.ts";
import type { Command } from "./command.ts";

/**
 * An actor is at a place: a step and its memory. The step makes exactly one access, and the answer decides the next
 * place. Places are data, so the explorer can compare two places, and a recorded run can be compared with them.
 */
export interface Place {
  readonly step: StepFunction<never>;
  readonly memory: object;
  /** Chosen while the clock says that an operation is fresh. A proof that a command ends must not depend on waiting. */
  readonly waits: boolean;
  /**
   * A command that waits here, or starts over, may end instead, because waiting is limited. The explorer treats that as
   * a death.
   */
  readonly mayEnd: boolean;
  /** Chosen only where this is so. */
  readonly where?: KeyFact;
}

/** What OpenRouter says about a key. Reading it is no access, so the explorer looks for the actor; a trace does not tell. */
export interface KeyFact {
  readonly hash: Hash;
  readonly works: boolean;
}

export type StepFunction<Memory extends object> = (memory: Memory, command: Command) => Step;

export interface Step {
  readonly access: Access;
  readonly next: (result: never) => Moves;
  /** The next moves if the access certainly did not happen and no attempt is left. If null, the command ends here. */
  readonly otherwise: (() => Moves) | null;
}

/** The end of a command, with the key that it handed out. */
export interface Ended {
  readonly ended: string;
  readonly returned: Hash | null;
  readonly waits: boolean;
  readonly where?: KeyFact;
}

export type Move = Place | Ended;
/** With several moves, the actor chooses (by its clock or its time limit); the answer does not decide. */
export type Moves = Move | readonly Move[];

/** The memory of a step about a row that was read. */
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

export function where(fact: KeyFact, moves: Moves): readonly Move[] {
  return listOf(moves).map((move) => ({ ...move, where: fact }));
}

export function ended(how: string, returned: Hash | null = null): Ended {
  return { ended: how, returned, waits: false };
}

/** A write whose answer was lost, without a rule to continue: exit 7. The next command finishes the rest. */
export const UNSURE = ended("the store did not answer");

export function doing<Asked extends Access>(
  access: Asked,
  next: (result: Results[Asked["access"]]) => Moves,
  otherwise: (() => Moves) | null = null,
): Step {
  return { access, next, otherwise };
}

export function stepAt(place: Place, command: Command): Step {
  // `to` has paired the step with its type of memory.
  return place.step(place.memory as never, command);
}

export function movesAfter(step: Step, result: unknown): readonly Move[] {
  // The caller passes the result of this step's access.
  return listOf(step.next(result as never));
}

export function movesWithout(step: Step): readonly Move[] {
  return step.otherwise === null ? [] : listOf(step.otherwise());
}

export function isPlace(move: Move): move is Place {
  return "step" in move;
}

/** Steps are identified by their names, so every name must be unique. */
const steps = new Map<string, unknown>();

/** The same text for equal things, including places. Throws if two steps have the same name. */
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
