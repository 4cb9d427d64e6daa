import type { Command, Option } from "commander";

/** The words of the program's command lines, as data for a shell's completion. */
export interface ProgramWords {
  readonly commands: readonly CommandWords[];
  /** The options that every command accepts. */
  readonly options: readonly OptionWords[];
}

export interface CommandWords {
  readonly name: string;
  readonly summary: string;
  /** The options of this command only. */
  readonly options: readonly OptionWords[];
  /** The words that may follow the command; empty for a command that takes options only. */
  readonly topics: readonly string[];
  /** The words after `--` are another program's. */
  readonly runsCommand: boolean;
}

export interface OptionWords {
  /** `-u` */
  readonly short: string | undefined;
  /** `--user` */
  readonly long: string;
  readonly description: string;
  /** Undefined for a switch. */
  readonly value: OptionValue | undefined;
}

interface OptionValue {
  /** `id` */
  readonly name: string;
  readonly kind: "choice" | "file" | "text";
  /** The possible values of a `choice`; else empty. */
  readonly choices: readonly string[];
}

const HELP: OptionWords = { short: "-h", long: "--help", description: "show the help", value: undefined };

export function programWords(program: Command): ProgramWords {
  const names = program.commands.map((command) => command.name());
  return {
    commands: program.commands.map((command) => ({
      name: command.name(),
      summary: command.summary(),
      options: optionsOf(command),
      runsCommand: command.registeredArguments.some(({ variadic }) => variadic),
      topics: [...(command.name() === "help" ? names : []), ...choicesOf(command)],
    })),
    options: [...optionsOf(program), HELP],
  };
}

function choicesOf({ registeredArguments }: Command): readonly string[] {
  return registeredArguments.flatMap(({ argChoices = [] }) => argChoices);
}

function optionsOf({ options }: Command): readonly OptionWords[] {
  return options.flatMap((option) => {
    const { short, long, description } = option;
    return long === undefined ? [] : [{ short, long, description, value: valueOf(option) }];
  });
}

/** The kind is read from the placeholder: `<path>`, `<file>` and `<path|->` are files. */
function valueOf({ flags, argChoices: choices = [] }: Option): OptionValue | undefined {
  const name = /<(.+)>/.exec(flags)?.[1];
  if (name === undefined) return undefined;
  const kind = choices.length > 0 ? "choice" : /^(?:path|file)\b/.test(name) ? "file" : "text";
  return { name, kind, choices };
}

/** The short and long forms of these options, such as `-u` and `--user`. */
export function formsOf(options: readonly OptionWords[]): readonly string[] {
  return options.flatMap(({ short, long }) => (short === undefined ? [long] : [short, long]));
}

/** The options that are followed by a value. */
export function withValue(options: readonly OptionWords[]): readonly OptionWords[] {
  return options.filter(({ value }) => value !== undefined);
}
