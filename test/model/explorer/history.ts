import { named } from "../accesses.ts";
import type { Access } from "../accesses.ts";
import type { Command } from "../command.ts";
import type { Effect } from "./effects.ts";

/** One access in a history. */
export interface Happening {
  /** Which of the commands, counted from 0; writes that are late have slots of their own, behind them. */
  readonly slot: number;
  readonly command: Command | null;
  readonly late: boolean;
  readonly access: Access | null;
  readonly result: Effect["result"];
  readonly fault: string | null;
}

/** Something that no command does. */
export const LATE_POST: Happening = { slot: -1, command: null, late: false, access: null, result: null, fault: null };

/** For people: one access a line. */
export function told(history: readonly Happening[]): readonly string[] {
  return history.map(({ slot, command, late, access, result, fault }) => {
    if (command === null || access === null) return "upstream: a late POST arrives, or is lost";
    const who = late ? `${command.kind}, late` : `${command.kind} (${slot + 1})`;
    return `${who}: ${named(access)} -> ${fault ?? JSON.stringify(result)}`;
  });
}
