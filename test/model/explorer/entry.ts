import type { Command } from "../command.ts";
import { begin } from "../actors/begin.ts";
import type { Place } from "../step.ts";

/** An unfinished command, or a write that is still on its way to the store. */
export interface Entry {
  readonly command: Command;
  readonly place: Place;
  /** A write of this command that nobody waits for any more. */
  readonly late: boolean;
  /** Only where a compare-and-set is read-then-write: it has read, and found its row. */
  readonly checked: boolean;
  /** Of a reader: has the current key changed since it began? Nobody else is asked. */
  readonly saw: "not begun" | "no change" | "a change" | "nobody asks";
}

export function entryOf(command: Command): Entry {
  const reads = command.kind === "sync" || command.kind === "get";
  return { command, place: begin(command), late: false, checked: false, saw: reads ? "not begun" : "nobody asks" };
}

/** What others did to the row: `revised` keeps its `_id`. */
export type RowChange = "kept" | "revised" | "gone";

/** The entry after others changed the row: what it has read stays as it was, but is no longer the row that is there. */
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
