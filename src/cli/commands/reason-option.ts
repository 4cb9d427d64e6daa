import type { Command } from "commander";
import { KeyctlError } from "../../core/model/errors.ts";
import { printable } from "../../core/text/printable.ts";

export interface ReasonFlags {
  readonly reason?: string;
}

const LONGEST_REASON = 500;

/** For every command that changes something. */
export function addReasonOption(command: Command): Command {
  return command.option("--reason <text>", "why, for the history", oneLine);
}

function oneLine(text: string): string {
  if (text.trim() !== "" && Array.from(text).length <= LONGEST_REASON && printable(text) === text) return text;
  throw new KeyctlError("USAGE", `--reason takes one line of 1 to ${LONGEST_REASON} printable characters`, {
    hint: '--reason "left the company"',
  });
}
