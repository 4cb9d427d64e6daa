import { Command, CommanderError } from "commander";
import { KeyctlError } from "../core/model/errors.ts";
import { fitted, HELP_FORMAT } from "./help-format.ts";
import { optionMistake } from "./mistakes/option-mistakes.ts";
import { MistakeFound } from "./mistakes/usage-mistake.ts";
import type { Unparsed, UsageMistake } from "./mistakes/usage-mistake.ts";
import type { Run } from "./invocation.ts";
import { plainWords } from "./plain-words.ts";
import { flagDuration } from "./time-flags.ts";

interface Verb {
  readonly summary: string;
  /** The words of another program stand after `--`. */
  readonly runsCommand?: true;
  /** Loaded when the command is used: one file per command. */
  readonly load: () => Promise<{
    configureCommand(command: Command, run: Run, whole: () => Promise<Command>): void;
  }>;
}

type Verbs = Readonly<Record<string, Verb>>;

const EVERYDAY: Verbs = {
  sync: { summary: "find a user's key and keep it in the database", load: () => import("./commands/sync.ts") },
  get: { summary: "show a user's key, or print it with --reveal", load: () => import("./commands/get.ts") },
  exec: {
    summary: "run a command with a user's key in its environment",
    runsCommand: true,
    load: () => import("./commands/exec/exec.ts"),
  },
  save: { summary: "store a key for a user", load: () => import("./commands/save.ts") },
  purge: { summary: "delete a user's key from the database", load: () => import("./commands/purge/purge.ts") },
  unblock: { summary: "let keys be stored for a blocked user again", load: () => import("./commands/unblock.ts") },
  explain: {
    summary: "show where a user's key comes from, and why",
    load: () => import("./commands/explain/explain.ts"),
  },
};

const MANY: Verbs = {
  list: { summary: "show what is stored", load: () => import("./commands/list/list.ts") },
  import: { summary: "store the keys of many users from a file", load: () => import("./commands/import/import.ts") },
  history: {
    summary: "show what happened to keys, who did it and why",
    load: () => import("./commands/history/history.ts"),
  },
};

const AT_OPENROUTER: Verbs = {
  provision: { summary: "create a key for a user at OpenRouter", load: () => import("./commands/provision.ts") },
  validate: { summary: "ask OpenRouter whether keys work", load: () => import("./commands/validate/validate.ts") },
  rotate: { summary: "replace keys that work by new ones", load: () => import("./commands/rotate/rotate.ts") },
  renew: { summary: "replace keys that are dead by new ones", load: () => import("./commands/renew.ts") },
  leaked: { summary: "disable keys that leaked, and replace them", load: () => import("./commands/leaked/leaked.ts") },
  reconcile: {
    summary: "compare all keys at OpenRouter with what is stored",
    load: () => import("./commands/reconcile/reconcile.ts"),
  },
};

const MAINTENANCE: Verbs = {
  doctor: { summary: "check the store, the keys and this machine", load: () => import("./commands/doctor/doctor.ts") },
  rekey: { summary: "re-encrypt every key with a new master key", load: () => import("./commands/rekey.ts") },
  copy: { summary: "copy all keys to another store", load: () => import("./commands/copy/copy.ts") },
  completion: {
    summary: "print the completion script of a shell",
    load: () => import("./commands/completion/completion.ts"),
  },
  help: { summary: "help on a command, exit-codes or environment", load: () => import("./commands/help.ts") },
};

/** The commands under their headings in the help. */
const GROUPS: readonly (readonly [heading: string, verbs: Verbs])[] = [
  ["Everyday:", EVERYDAY],
  ["Many users:", MANY],
  ["Keys at OpenRouter:", AT_OPENROUTER],
  ["Maintenance:", MAINTENANCE],
];
const VERBS: Verbs = { ...EVERYDAY, ...MANY, ...AT_OPENROUTER, ...MAINTENANCE };

/** The commands that use the store. */
export const STORE_VERBS: readonly string[] = Object.keys(VERBS).filter(
  (verb) => !["completion", "help"].includes(verb),
);

const EXAMPLES = `
Examples:
  keyctl sync --user 68e228e87f803a11a4e23045
  keyctl get --user alice --reveal
  keyctl list

Durations are written as 30s, 1h30m, 90d, 2w or 1y. Where <date> is named, a day
or a time by UTC is taken as well: 2026-11-01, 2026-11-01T12:00:00Z.

Exit codes: keyctl help exit-codes. Variables: keyctl help environment.`;

export interface ProgramOptions {
  readonly version: string;
  readonly columns: number | undefined;
  readonly run: (program: Command) => Run;
  /** Called with the command that is about to run. */
  readonly beforeAction?: (command: Command) => void;
}

/** The text of --help or --version. The error is that no command was given: then the help is printed as well. */
export interface HelpText {
  readonly text: string;
  readonly error: KeyctlError | null;
}

/** Parses the arguments and runs the action; returns what is printed instead of one. Throws USAGE. */
export async function runProgram(argv: readonly string[], options: ProgramOptions): Promise<HelpText | undefined> {
  const words = rewritten(argv);
  const parsed = await parse(words, options);
  if (parsed === null) return undefined;
  if ("text" in parsed) return parsed;
  const { usageError } = await import("./mistakes/usage-error.ts");
  throw await usageError(parsed, {
    verbs: Object.keys(VERBS),
    parse: async (corrected) => {
      const { assertUsable } = await import("./mistakes/usable-line.ts");
      const again = await parse(rewritten(corrected), { ...options, run: () => idle, beforeAction: assertUsable });
      return again !== null && "cause" in again ? again : null;
    },
    whole: () => wholeProgram(options.version),
  });
}

/** Null if the action has run. */
async function parse(words: readonly string[], options: ProgramOptions): Promise<Unparsed | HelpText | null> {
  let help = "";
  const program = declared(options, (text) => (help += help === "" ? text : fitted(text, options.columns)));
  const forgotten = await dashesForgotten(words, program.options);
  if (forgotten !== undefined) return { words, program, cause: forgotten };
  for (const [name, verb] of verbsFor(words)) addVerb(program, name, verb);
  program.hook("preSubcommand", async (_, command) => {
    const verb = VERBS[command.name()];
    if (verb !== undefined) {
      const whole = async () => wholeProgram(options.version);
      (await verb.load()).configureCommand(command, options.run(program), whole);
    }
    const mistake = optionMistake(words, [...program.options, ...command.options]);
    if (mistake !== undefined) throw new MistakeFound(mistake);
  });
  program.hook("preAction", (_, command) => options.beforeAction?.(command));
  try {
    await program.parseAsync(words, { from: "user" });
    return null;
  } catch (thrown) {
    if (thrown instanceof MistakeFound) return { words, program, cause: thrown.mistake };
    if (!(thrown instanceof CommanderError)) throw thrown;
    const text = help.trimEnd();
    if (thrown.exitCode === 0) return { text, error: null };
    if (thrown.code === "commander.help") return { text, error: noCommand() };
    return { words, program, cause: thrown };
  }
}

/** Not 0: a script whose command is an empty variable has done nothing. */
function noCommand(): KeyctlError {
  return new KeyctlError("USAGE", "no command given", { hint: "keyctl sync --help   explains one" });
}

const idle: Run = () => async () => {};

async function dashesForgotten(
  words: readonly string[],
  options: Command["options"],
): Promise<UsageMistake | undefined> {
  const [{ index: at, word: name } = { index: -1, word: "" }] = plainWords(words);
  const verb = Object.hasOwn(VERBS, name) ? VERBS[name] : undefined;
  if (verb?.runsCommand !== true) return undefined;
  const command = new Command(name);
  (await verb.load()).configureCommand(command, idle, async () => command);
  const { forgottenDashes } = await import("./mistakes/forgotten-dashes.ts");
  return forgottenDashes(words, at + 1, [...options, ...command.options]);
}

/** Every command with all of its options, for who describes them; its commands do nothing. */
export async function wholeProgram(version: string): Promise<Command> {
  const program = declared({ version, columns: undefined }, () => {});
  const whole = async () => program;
  for (const [name, verb] of Object.entries(VERBS)) {
    (await verb.load()).configureCommand(addVerb(program, name, verb), idle, whole);
  }
  return program;
}

/** The program and its own options. What commander has to say goes to `write`. */
function declared({ version, columns = 80 }: Omit<ProgramOptions, "run">, write: (text: string) => void): Command {
  return new Command("keyctl")
    .description("Finds, encrypts and keeps the OpenRouter API key of every user of an application.")
    .version(version, "--version", "print the version")
    .option("--json", "print JSON documents on standard output")
    .option("-q, --quiet", "no log lines, notes and hints; errors still show")
    .option("--no-color", "no colour")
    .option("--no-input", "never ask a question")
    .option(
      "--timeout <duration>",
      "how long each user may take (default 30s; 90s where a key may be created)",
      flagDuration("--timeout"),
    )
    .option("--store <uri>", "where keys are kept: sqlite:<path> or mongodb://<host>/<database>")
    .option("--key-file <path>", "the file to read in place of ./key.txt")
    .option("--debug", "show the stack of a bug")
    .helpCommand(false)
    .addHelpText("after", EXAMPLES)
    .configureHelp(HELP_FORMAT)
    .configureOutput({
      writeOut: write,
      writeErr: write,
      outputError: () => {},
      getOutHelpWidth: () => columns,
      getErrHelpWidth: () => columns,
      // On its own, commander would load the stream of process.stdout, which costs a tenth of Node's start-up time.
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .exitOverride();
}

function addVerb(program: Command, name: string, { summary }: Verb): Command {
  return program
    .command(name)
    .summary(summary)
    .helpGroup(GROUPS.find(([, verbs]) => Object.hasOwn(verbs, name))?.[0] ?? "")
    .description(`${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`);
}

/** All commands, or only the one in use, for a fast start. */
function verbsFor([first = ""]: readonly string[]): readonly (readonly [name: string, verb: Verb])[] {
  const verb = Object.hasOwn(VERBS, first) ? VERBS[first] : undefined;
  return verb === undefined ? Object.entries(VERBS) : [[first, verb]];
}

/** `help sync` is `sync --help`, and `help` alone is `--help`; switches may be anywhere. */
function rewritten(argv: readonly string[]): readonly string[] {
  const [verb, topic] = plainWords(argv).map(({ word }) => word);
  if (verb !== "help") return argv;
  if (topic === undefined) return ["--help"];
  return Object.hasOwn(VERBS, topic) ? [topic, "--help"] : argv;
}
