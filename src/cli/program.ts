import { Command, CommanderError } from "commander";
import { KeyctlError } from "../core/model/errors.ts";
import { printable } from "../core/text/printable.ts";
import { userFlag } from "../core/text/shell-quote.ts";
import { flagDuration } from "./format-duration.ts";
import { refuseOptionMistakes } from "./option-mistakes.ts";
import type { Run } from "./invocation.ts";

interface Verb {
  readonly summary: string;
  /** The words of another program stand after `--`. */
  readonly runsCommand?: true;
  /** Loaded when the command is used: one file per command. */
  readonly load: () => Promise<{
    configureCommand(command: Command, run: Run, whole: () => Promise<Command>): void;
  }>;
}

const VERBS: Readonly<Record<string, Verb>> = {
  sync: { summary: "find a user's key and keep it in the database", load: () => import("./commands/sync.ts") },
  get: { summary: "show a user's key, or print it with --reveal", load: () => import("./commands/get.ts") },
  exec: {
    summary: "run a command with a user's key in its environment",
    runsCommand: true,
    load: () => import("./commands/exec/exec.ts"),
  },
  provision: { summary: "create a key for a user at OpenRouter", load: () => import("./commands/provision.ts") },
  validate: { summary: "ask OpenRouter whether keys work", load: () => import("./commands/validate/validate.ts") },
  rotate: { summary: "replace keys that work by new ones", load: () => import("./commands/rotate/rotate.ts") },
  renew: { summary: "replace keys that are dead by new ones", load: () => import("./commands/renew.ts") },
  leaked: { summary: "disable keys that leaked, and replace them", load: () => import("./commands/leaked/leaked.ts") },
  save: { summary: "store a key for a user", load: () => import("./commands/save.ts") },
  import: { summary: "store the keys of many users from a file", load: () => import("./commands/import/import.ts") },
  purge: { summary: "delete a user's key from the database", load: () => import("./commands/purge/purge.ts") },
  unblock: { summary: "let keys be stored for a blocked user again", load: () => import("./commands/unblock.ts") },
  list: { summary: "show what is stored", load: () => import("./commands/list/list.ts") },
  history: {
    summary: "show what happened to keys, who did it and why",
    load: () => import("./commands/history/history.ts"),
  },
  explain: {
    summary: "show where a user's key comes from, and why",
    load: () => import("./commands/explain/explain.ts"),
  },
  rekey: { summary: "re-encrypt every key with a new master key", load: () => import("./commands/rekey.ts") },
  copy: { summary: "copy all keys to another store", load: () => import("./commands/copy/copy.ts") },
  reconcile: {
    summary: "compare all keys at OpenRouter with what is stored",
    load: () => import("./commands/reconcile/reconcile.ts"),
  },
  doctor: { summary: "check the store, the keys and this machine", load: () => import("./commands/doctor/doctor.ts") },
  completion: {
    summary: "print the completion script of a shell",
    load: () => import("./commands/completion/completion.ts"),
  },
  help: { summary: "help on a command, exit-codes or environment", load: () => import("./commands/help.ts") },
};

/** The commands that use the store. */
export const STORE_VERBS: readonly string[] = Object.keys(VERBS).filter(
  (verb) => !["completion", "help"].includes(verb),
);

const EXAMPLES = `
Examples:
  keyctl sync --user 68e228e87f803a11a4e23045
  keyctl get --user alice --reveal
  keyctl list

Exit codes: keyctl help exit-codes. Variables: keyctl help environment.`;

export interface ProgramOptions {
  readonly version: string;
  readonly columns: number | undefined;
  readonly run: (program: Command) => Run;
}

/**
 * Parses the arguments and runs the action. Returns the text of --help and --version; actions do all other output. Throws
 * USAGE.
 */
export async function runProgram(argv: readonly string[], options: ProgramOptions): Promise<string | undefined> {
  let help = "";
  const words = rewritten(argv);
  const program = declared(options, (text) => (help += text));
  await refuseForeignWords(words, program.options);
  for (const [name, verb] of verbsFor(words)) addVerb(program, name, verb);
  program.hook("preSubcommand", async (_, command) => {
    const verb = VERBS[command.name()];
    if (verb !== undefined) {
      const whole = async () => wholeProgram(options.version);
      (await verb.load()).configureCommand(command, options.run(program), whole);
    }
    refuseOptionMistakes(words, [...program.options, ...command.options]);
  });
  try {
    await program.parseAsync(words, { from: "user" });
    return undefined;
  } catch (thrown) {
    if (!(thrown instanceof CommanderError)) throw thrown;
    if (thrown.exitCode === 0) return help.trimEnd();
    throw usageError(thrown, argv, program);
  }
}

const idle: Run = () => async () => {};

async function refuseForeignWords(words: readonly string[], options: Command["options"]): Promise<void> {
  const at = indexOfVerb(words);
  const name = words[at] ?? "";
  const verb = Object.hasOwn(VERBS, name) ? VERBS[name] : undefined;
  if (verb?.runsCommand !== true) return;
  const command = new Command(name);
  (await verb.load()).configureCommand(command, idle, async () => command);
  const { refuseForgottenDashes } = await import("./forgotten-dashes.ts");
  refuseForgottenDashes(words, at + 1, [...options, ...command.options]);
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
    .option("--timeout <duration>", "how long each user may take (default 30s)", flagDuration("--timeout"))
    .option("--store <uri>", "where keys are kept: sqlite:<path> or mongodb://<host>/<database>")
    .option("--key-file <path>", "the file to read in place of ./key.txt")
    .option("--debug", "show the stack of a bug")
    .helpCommand(false)
    .addHelpText("after", EXAMPLES)
    .configureHelp({ showGlobalOptions: true })
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
    .description(`${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`);
}

/** All commands, or only the one in use, for a fast start. */
function verbsFor([first = ""]: readonly string[]): readonly (readonly [name: string, verb: Verb])[] {
  const verb = Object.hasOwn(VERBS, first) ? VERBS[first] : undefined;
  return verb === undefined ? Object.entries(VERBS) : [[first, verb]];
}

/** The global options that take a value. */
const TAKE_A_VALUE: ReadonlySet<string> = new Set(["--timeout", "--store", "--key-file"]);

/** -1 without one. */
function indexOfVerb(words: readonly string[]): number {
  return words.findIndex((word, index) => !word.startsWith("-") && !TAKE_A_VALUE.has(words[index - 1] ?? ""));
}

/** `help sync` is `sync --help`, and `help` alone is `--help`; switches may be anywhere. */
function rewritten(argv: readonly string[]): readonly string[] {
  const [verb, topic] = argv.filter((word, index) => !word.startsWith("-") && !TAKE_A_VALUE.has(argv[index - 1] ?? ""));
  if (verb !== "help") return argv;
  if (topic === undefined) return ["--help"];
  return Object.hasOwn(VERBS, topic) ? [topic, "--help"] : argv;
}

/** The words of other tools for these commands. */
const OTHER_WORDS: ReadonlyMap<string, string> = new Map([
  ["add", "save"],
  ["backup", "copy"],
  ["block", "purge --block"],
  ["check", "validate"],
  ["create", "provision"],
  ["delete", "purge"],
  ["export", "copy"],
  ["log", "history"],
  ["env", "exec"],
  ["load", "import"],
  ["ls", "list"],
  ["compromised", "leaked"],
  ["leak", "leaked"],
  ["remove", "purge"],
  ["restore", "copy"],
  ["revoke", "purge --revoke"],
  ["replace", "rotate"],
  ["rm", "purge"],
  ["run", "exec"],
  ["set", "save"],
  ["show", "get"],
  ["status", "doctor"],
]);

function usageError({ code, message }: CommanderError, argv: readonly string[], program: Command): KeyctlError {
  const verb = argv.find((word) => Object.hasOwn(VERBS, word));
  const hint = verb === undefined ? "keyctl --help" : `keyctl ${verb} --help`;
  if (code === "commander.help") return new KeyctlError("USAGE", "no command given", { hint });
  if (code === "commander.excessArguments") {
    return new KeyctlError("USAGE", unexpectedArgument(program.commands.find((command) => command.name() === verb)), {
      hint,
    });
  }
  const unknown = code === "commander.unknownCommand" ? argv.find((word) => OTHER_WORDS.has(word)) : undefined;
  if (unknown !== undefined) {
    const meant = `unknown command '${unknown}'; did you mean 'keyctl ${OTHER_WORDS.get(unknown)}'?`;
    return new KeyctlError("USAGE", meant, { hint });
  }
  const text = message
    .replace(/^error: /, "")
    // The text after the = of an unknown option may be a secret.
    .replace(/'(--?[^'=]+)=[^']*'/, "'$1'")
    .replace(/\n\(Did you mean (?:one of )?(.*)\?\)$/s, (_, words: string) => {
      const quoted = words.split(", ").map((word) => `'${word}'`);
      return `; did you mean ${quoted.join(" or ")}?`;
    });
  return new KeyctlError("USAGE", printable(text), { hint });
}

/** The first word of a command line that belongs to no option. A user id is meant where the command takes one. */
function unexpectedArgument(command: Command | undefined): string {
  const word = command?.args[command.registeredArguments.length] ?? "";
  const takesUser = command?.options.some(({ long }) => long === "--user") === true;
  return `unexpected argument '${printable(word)}'${takesUser && word !== "" ? `; did you mean ${userFlag(word)}?` : ""}`;
}
