import type { Command, CommanderError } from "commander";
import { shellQuote } from "../../core/text/shell-quote.ts";

/** A word of a command line, or the place of one that only the person knows: `<id>`. */
export type Word = string | { readonly placeholder: string };

/** What is wrong with a command line, and how it was meant. */
export interface UsageMistake {
  readonly message: string;
  /** The words as they were meant, so far as this mistake goes. */
  readonly corrected?: readonly Word[];
  /** The hint where there is no corrected command line. */
  readonly hint?: string;
}

/** A command line that could not be parsed, and the program that was to parse it. */
export interface Unparsed {
  readonly words: readonly string[];
  readonly program: Command;
  /** What commander found, or what was found before it. */
  readonly cause: CommanderError | UsageMistake;
}

export interface UsageContext {
  readonly verbs: readonly string[];
  /** Parses a command line and runs nothing; null if it is understood. Throws USAGE for the value of an option. */
  readonly parse: (words: readonly string[]) => Promise<Unparsed | null>;
  /** All commands with all of their options. */
  readonly whole: () => Promise<Command>;
}

/** Leaves the parsing of a command line. */
export class MistakeFound extends Error {
  readonly mistake: UsageMistake;

  constructor(mistake: UsageMistake) {
    super(mistake.message);
    this.mistake = mistake;
  }
}

/** The command line as it is typed. */
export function typedLine(words: readonly Word[]): string {
  return ["keyctl", ...words.map((word) => (typeof word === "string" ? shellQuote(word) : word.placeholder))].join(" ");
}
