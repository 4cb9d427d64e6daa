import type { Command } from "commander";
import { KeyctlError } from "../../core/model/errors.ts";
import { parseReason } from "../../core/model/reason.ts";

export interface ReasonFlags {
  readonly reason?: string;
}

/** For every command that changes something. */
export function addReasonOption(command: Command): Command {
  return command.option("--reason <text>", "why, for the history", someWords);
}

function someWords(text: string): string {
  const reason = parseReason(text);
  if (reason !== null) return reason;
  throw new KeyctlError("USAGE", "--reason takes a few words, not none", { hint: '--reason "left the company"' });
}
