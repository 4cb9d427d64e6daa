import { isDeepStrictEqual } from "node:util";
import { begin } from "./actors/begin.ts";
import { named } from "./accesses.ts";
import type { Access, RowContent } from "./accesses.ts";
import { command } from "./command.ts";
import type { ActorKind, Command } from "./command.ts";
import { ended, isPlace, keyOf, movesAfter, movesWithout, stepAt } from "./step.ts";
import type { Move, Place, Step } from "./step.ts";

/**
 * Compares a real process with the model: the same actors get recorded answers instead of the explorer's. An access
 * that the actor does not make at that point, or makes with other operands, is refused.
 */
export interface Recorded {
  readonly access: string;
  /**
   * A value of the model's `Results`, or `unavailable` for an access that certainly did nothing (it may be repeated).
   * For an insert into the journal, an `InsertAnswer`. If missing, the process died during this access, which is its
   * last.
   */
  readonly result?: unknown;
  /** The operands, as in `Access`. There may be operands that the model does not know, such as a nonce. */
  readonly [operand: string]: unknown;
}

/**
 * A refused insert must contain the existing record, or be followed by a read of that record. An unanswered insert must
 * be followed by that read, and is repeated if there is no record. The record of an `op` is identified by its `nonce`.
 */
type InsertAnswer =
  | { readonly answer: "done" }
  | { readonly answer: "refused"; readonly stands?: unknown }
  | { readonly answer: "unanswered" };

/** The limit and the restrictions of the new key are decided by reads that are no accesses: the trace tells them. */
export interface TraceOptions extends Partial<
  Omit<Command, "kind" | "breach" | "protocol" | "limitDue" | "restrictions" | "detaches">
> {
  /** Whether the command ended as the protocol allows. Otherwise it may have died anywhere. */
  readonly ended?: boolean;
}

export type Acceptance =
  | { readonly ok: true }
  /** `at` counts from 0. `expected` is empty if the actor has ended; `got` is null if the trace has ended. */
  | { readonly ok: false; readonly at: number; readonly expected: readonly string[]; readonly got: Recorded | null };

export function accepts(kind: ActorKind, options: TraceOptions, trace: readonly Recorded[]): Acceptance {
  const { ended: mustEnd = false, ...operands } = options;
  const asked = command(kind, { spool: kind !== "finish", ...decidedIn(trace), ...operands });
  let standings: readonly Standing[] = [{ move: begin(asked), read: null }];
  for (const [at, got] of trace.entries()) {
    const dies = got.result === undefined && at === trace.length - 1;
    const next = standings.flatMap((standing) => (dies ? during(standing, got, asked) : after(standing, got, asked)));
    if (next.length === 0 && isLookBehind(standings, got, asked)) continue;
    if (next.length === 0) return { ok: false, at, expected: expectedBy(standings, asked), got };
    standings = distinct(next);
  }
  if (!mustEnd || standings.some(({ move }) => !isPlace(move) || move.mayEnd)) return { ok: true };
  return { ok: false, at: trace.length, expected: expectedBy(standings, asked), got: null };
}

/** What a rotation wrote into its row for the new key, and whether the lists of a key were changed. */
function decidedIn(trace: readonly Recorded[]): Pick<Command, "limitDue" | "restrictions" | "detaches"> {
  const detaches = trace.some(({ access }) => access === "upstream.detach");
  const swap = trace.find(({ access, row }) => access === "row.replace" && isNewKey(row as RowContent));
  if (swap !== undefined) {
    const { limitDue, restrictions } = swap["row"] as RowContent;
    return { limitDue, restrictions, detaches };
  }
  const changesLists = trace.some(({ access }) => access === "upstream.attach" || access === "upstream.detach");
  return { limitDue: null, restrictions: changesLists ? "of a key without a row" : null, detaches };
}

function isNewKey({ generation, settled }: RowContent): boolean {
  return generation > 0 && !settled;
}

/** A possible place of the actor. Its own choices may leave several. */
interface Standing {
  readonly move: Move;
  /** The insert whose record must be read next; null without one. */
  readonly read: Recorded | null;
}

function during(standing: Standing, got: Recorded, asked: Command): readonly Standing[] {
  return isPlace(standing.move) && fits(accessOf(standing, standing.move, asked), got) ? [standing] : [];
}

function after(standing: Standing, got: Recorded, asked: Command): readonly Standing[] {
  const { move, read } = standing;
  if (!isPlace(move) || got.result === undefined || !fits(accessOf(standing, move, asked), got)) return [];
  const step = stepAt(move, asked);
  if (got.result === "unavailable") return [standing, ...withoutAnswer(standing, step)];
  if (read !== null) return afterRead(move, read, got, asked);
  if (isInsert(step.access)) return afterInsert(move, step.access, got, asked);
  return standingAt(movesAfter(step, got.result));
}

/** Nothing happened, and no attempt is left: the command ends, unless the model has another move. */
function withoutAnswer({ read }: Standing, step: Step): readonly Standing[] {
  return standingAt(read === null && step.otherwise !== null ? movesWithout(step) : [ended("unavailable")]);
}

function standingAt(moves: readonly Move[]): readonly Standing[] {
  return moves.map((move) => ({ move, read: null }));
}

type Insert = Extract<Access, { readonly access: `journal.insert ${string}`; readonly generation: number }>;

function isInsert(access: Access): access is Insert {
  return access.access.startsWith("journal.insert ") && "generation" in access;
}

function afterInsert(place: Place, access: Insert, got: Recorded, asked: Command): readonly Standing[] {
  // The recorder writes this type of answer for inserts.
  const answer = got.result as InsertAnswer;
  const learns = (result: unknown) => standingAt(movesAfter(stepAt(place, asked), result));
  if (answer.answer === "done") return learns(ownRecord(access));
  const reads = { move: place, read: got };
  if (answer.answer === "unanswered") return [reads];
  if (answer.stands !== undefined) return learns(answer.stands);
  return mustObey(access)
    ? [reads]
    : [reads, ...learns(access.access === "journal.insert op" ? "lost" : ownRecord(access))];
}

/** The record after an insert that was won. */
function ownRecord(access: Insert): unknown {
  switch (access.access) {
    case "journal.insert op":
      return "won";
    case "journal.insert out":
      return access.outcome;
    case "journal.insert rev":
      return access.retirement;
    case "journal.insert del":
    case "journal.insert due":
      return "stands";
  }
}

/** After a lost insert, the record must be read and obeyed. The read may be left out only if nothing depends on it. */
function mustObey(access: Insert): boolean {
  if (access.access !== "journal.insert rev") return access.access === "journal.insert out";
  return access.retirement.revoke || access.retirement.reason === "purged";
}

/**
 * After its end, a command may look for other rows with its key, for a warning. A rotation that has lost the store after
 * its commit looks at its row: that decides only whether its key is handed out.
 */
function isLookBehind(standings: readonly Standing[], got: Recorded, { kind }: Command): boolean {
  const isLook = got.access === "row.holding" || (got.access === "row.find" && ROTATING.has(kind));
  return isLook && standings.some(({ move }) => !isPlace(move));
}

const ROTATING: ReadonlySet<ActorKind> = new Set(["rotate", "renew", "leaked"]);

function afterRead(place: Place, inserted: Recorded, got: Recorded, asked: Command): readonly Standing[] {
  if (got.result === null) {
    const { answer } = inserted.result as InsertAnswer;
    return answer === "unanswered" ? standingAt([place]) : [];
  }
  return standingAt(movesAfter(stepAt(place, asked), recordFrom(inserted, got)));
}

function recordFrom(inserted: Recorded, { result }: Recorded): unknown {
  if (inserted.access === "journal.insert del" || inserted.access === "journal.insert due") return "stands";
  if (inserted.access !== "journal.insert op") return result;
  // The record of an operation is an object with its nonce.
  return (result as { readonly nonce: unknown }).nonce === inserted["nonce"] ? "won" : "lost";
}

/** The next access: the step's own, or the read of a record that the step has tried to insert. */
function accessOf({ read }: Standing, place: Place, asked: Command): Recorded {
  const { access } = stepAt(place, asked);
  if (read === null || !isInsert(access)) return access;
  return { access: access.access.replace("insert", "read"), generation: access.generation };
}

function fits(expected: Recorded, got: Recorded): boolean {
  return Object.entries(expected).every(([name, value]) => name === UNRECORDED || isDeepStrictEqual(got[name], value));
}

/** The request for a key does not say whether its limit is what was left of another. */
const UNRECORDED = "lowered";

function expectedBy(standings: readonly Standing[], asked: Command): readonly string[] {
  const accesses = standings.flatMap((standing) =>
    isPlace(standing.move) ? [named(accessOf(standing, standing.move, asked))] : [],
  );
  return [...new Set(accesses)];
}

function distinct(standings: readonly Standing[]): readonly Standing[] {
  return [...new Map(standings.map((standing) => [keyOf(standing), standing])).values()];
}
