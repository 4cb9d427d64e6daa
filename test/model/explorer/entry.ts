import type { Command } from "../command.ts";
import { begin } from "../actors/begin.ts";
import type { Place } from "../step.ts";

/** An unfinished command, or a write that has not reached the store yet. */
export interface Entry {
  readonly command: Command;
  readonly place: Place;
  /** Whether this is a write of the command that the command no longer waits for. */
  readonly late: boolean;
  /** Only with a split compare-and-set: it has read, and found its row. */
  readonly checked: boolean;
  /** For an unblock: whether a purge has recorded or placed a block since the row was read; null: not read yet. */
  readonly besideBlock: boolean | null;
}

export function entryOf(command: Command): Entry {
  return { command, place: begin(command), late: false, checked: false, besideBlock: null };
}

/** The change of the row by another actor: `revised` keeps its `_id`. */
export type RowChange = "kept" | "revised" | "gone";

/**
 * The entry after another actor changed the row: the content that it has read stays, but is no longer the current row.
 */
export function outdated(entry: Entry, change: RowChange): Entry {
  if (change === "kept") return entry;
  const place = { ...entry.place, memory: outdatedIn(entry.place.memory, change) as object };
  return { ...entry, place };
}

function outdatedIn(value: unknown, change: "revised" | "gone"): unknown {
  if (typeof value === "string") return value.replace(change === "gone" ? /^(now|revised)\|/ : /^now\|/, `${change}|`);
  if (Array.isArray(value)) return value.map((one) => outdatedIn(one, change));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, outdatedIn(one, change)]));
}
