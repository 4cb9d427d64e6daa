import type { Access, Hash } from "../accesses.ts";
import { movesAfter, movesWithout, stepAt } from "../step.ts";
import type { KeyFact, Move, Step } from "../step.ts";
import { changedRow, effectsOf } from "./effects.ts";
import type { Effect, Laws } from "./effects.ts";
import type { Entry, RowChange } from "./entry.ts";
import { generationOfKey, isStill } from "./world.ts";
import type { World } from "./world.ts";

/** One access of one actor with one of its possible effects. */
export interface Transition {
  readonly access: Access;
  readonly effect: Effect;
  readonly rowChange: RowChange;
  /** The place of the actor afterwards, or its end with the key that it handed out. */
  readonly move: Move | { readonly checked: true };
  /** The late write that it leaves. */
  readonly late: Entry | null;
}

/** The compare-and-set of the store: atomic, or split into a read and a write. */
export type Setting = Laws & {
  readonly split: boolean;
  /** The key that a person may delete or disable upstream at any moment. */
  readonly mortal: Hash | null;
};

export function transitionsOf(entry: Entry, world: World, setting: Setting): readonly Transition[] {
  const step = stepAt(entry.place, entry.command);
  const effects = splitEffects(entry, step.access, world, setting) ?? possibleEffects(entry, step, world, setting);
  return effects.flatMap((effect) => movesOf(step, effect).map((move) => transition(entry, step, world, effect, move)));
}

function transition(
  entry: Entry,
  { access }: Step,
  world: World,
  effect: Effect,
  move: Transition["move"],
): Transition {
  const late = effect.late === null ? null : { ...entry, place: effect.late, late: true, besideBlock: null };
  return { access, effect, rowChange: rowChange(world, effect.world), move, late };
}

function movesOf(step: Step, { result, world }: Effect): readonly Transition["move"][] {
  if (result === "checked") return [{ checked: true }];
  const moves = result === "unavailable" ? movesWithout(step) : movesAfter(step, result);
  return moves.filter(({ where }) => where === undefined || isSo(where, world));
}

/** A read upstream changes nothing, so nothing is lost if it happens together with the access before it. */
function isSo({ hash, works }: KeyFact, { live }: World): boolean {
  // Whether a key works that the protocol did not create is not known here.
  return generationOfKey(hash) === 0 || live.includes(hash) === works;
}

/** A late write meets no more faults. A store that is away matters only to a command with a spool. */
function possibleEffects(entry: Entry, step: Step, world: World, setting: Setting): readonly Effect[] {
  const effects = effectsOf(step.access, world, setting);
  if (entry.late) return effects.filter(({ fault }) => fault === null);
  const upstream = step.access.access.startsWith("upstream.");
  if (step.otherwise === null || (!upstream && !entry.command.spool)) return effects;
  const away: Effect = { world, result: "unavailable", fault: "certainly not done", late: null, unread: false };
  return [...effects, away];
}

/** A split compare-and-set: between read and write the row may change, and the write hits any row with its `_id`. */
function splitEffects(entry: Entry, access: Access, world: World, setting: Setting): readonly Effect[] | null {
  if (!setting.split || (access.access !== "row.replace" && access.access !== "row.remove")) return null;
  const plain = { world, fault: null, late: null, unread: false };
  if (!entry.checked) {
    const fits = isStill(world.row, access.seen, setting.comparison);
    return [{ ...plain, result: fits ? "checked" : { answer: "refused" } }];
  }
  const row = access.access === "row.replace" ? access.row : null;
  const hits = world.row !== null && !access.seen.startsWith("gone|");
  if (hits && world.row !== null) return [changedRow(row, world.row, access.seen, world, setting)];
  return [{ ...plain, result: { answer: "done", version: access.seen } }];
}

function rowChange({ row: before }: World, { row: after }: World): RowChange {
  if (before === after) return "kept";
  return before === null || after === null ? "gone" : "revised";
}
