import type { Command } from "commander";
import { toKeyctlError } from "../../core/async/deadline.ts";
import { KeyctlError } from "../../core/model/errors.ts";
import type { ErrorCode } from "../../core/model/errors.ts";
import { environmentForCommand } from "../../core/model/redact-keys.ts";
import { syncFailed } from "../../core/model/results.ts";
import type { SyncResult } from "../../core/model/results.ts";
import { parseUserId } from "../../core/model/user-id.ts";
import { printable } from "../../core/text/printable.ts";
import { addUserOption, oneUser } from "../bulk/selection.ts";
import { errorDocument } from "../invocation.ts";
import type { ForeignExit, Invocation, Run } from "../invocation.ts";
import type { CommandEnd } from "../terminal/run-command.ts";
import { sayWarnings } from "../views/key-view.ts";
import { addCreateOption } from "./create-option.ts";
import type { CreateFlags } from "./create-option.ts";
import { addReasonOption } from "./reason-option.ts";
import type { ReasonFlags } from "./reason-option.ts";

interface ExecFlags extends CreateFlags, ReasonFlags {
  readonly user?: readonly string[];
  readonly env?: readonly string[];
  readonly renew?: true;
}

const DEFAULT_NAME = "OPENROUTER_API_KEY";
/** Nobody knows whether the key works: the command finds out. */
const UNCHECKED: ReadonlySet<ErrorCode> = new Set(["VERDICT_UNKNOWN", "PROVIDER_UNAVAILABLE"]);
const VARIABLE_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

export function configureCommand(command: Command, run: Run): void {
  addReasonOption(addCreateOption(addUserOption(command, "whose key")))
    .option("--env <name>", `the variable that holds the key, in place of ${DEFAULT_NAME}`, collect)
    .option("--renew", "first check the key, and replace one that is dead")
    .argument("[command...]", "the command and its words, after --")
    .usage("--user <id> [options] -- command ...")
    .addHelpText(
      "after",
      `
Finds the key as get does: saves what it finds, and never makes a key. Without
a key, nothing is started. The key is in the environment of the command only,
which gets no other secret of keyctl's: no management key, master keys or store.
With --renew, a key that OpenRouter confirms to be dead is replaced first, as
keyctl renew does; a key that could not be checked is used.
Signals are passed on. The exit code is the command's; 126: it cannot be run,
127: it was not found, 128 + n: signal n ended it.

Examples:
  keyctl exec --user alice -- node app.js
  keyctl exec --user alice --env OPENAI_API_KEY -- python3 analysis.py
  keyctl exec --user alice --renew -- ./nightly.sh
  keyctl exec --user alice -- sh -c 'node app.js | tee log.txt'`,
    )
    .action((words: readonly string[], flags: ExecFlags) =>
      run((invocation, given: ExecFlags) => exec(invocation, given, words))(flags),
    );
}

function collect(name: string, before: readonly string[] = []): readonly string[] {
  return [...before, name];
}

async function exec(
  invocation: Invocation,
  flags: ExecFlags,
  words: readonly string[],
): Promise<KeyctlError | ForeignExit> {
  const user = oneUser("exec", flags.user);
  const name = variableOf(flags.env);
  requireCommand(words, invocation.wordsAfterDashes);
  // The manager sets variables for its own look-ups.
  const environment = { ...invocation.environment };
  const found = await find(invocation, user, flags);
  sayWarnings(invocation.terminal, found.warnings);
  if (found.error !== null) return failed(invocation, found.error);
  const end = await invocation.runCommand(words, environmentForCommand(environment, name, found.key.reveal()));
  if (end.kind === "not-started") invocation.terminal.error(notStarted(words[0] ?? "", end));
  return end;
}

/** Throws USAGE. */
function variableOf([name = DEFAULT_NAME, ...more]: readonly string[] = []): string {
  if (more.length > 0) {
    throw new KeyctlError("USAGE", "the key is put into one variable", { hint: "give --env once" });
  }
  if (VARIABLE_NAME.test(name)) return name;
  // What stands after an = may be a secret.
  const problem = name.includes("=") ? "--env takes a name without a value" : `'${printable(name)}' is no variable`;
  throw new KeyctlError("USAGE", problem, { hint: `--env ${DEFAULT_NAME}` });
}

/** The words after `--` are the command's, all of them. Throws USAGE. */
function requireCommand(words: readonly string[], after: readonly string[]): void {
  if (words.length > 0 && words.length === after.length) return;
  const problem = words.length === 0 ? "no command is given" : "the command stands after --";
  throw new KeyctlError("USAGE", problem, { hint: "keyctl exec --user <id> -- node app.js" });
}

async function find(invocation: Invocation, user: string, { create, renew, reason }: ExecFlags): Promise<SyncResult> {
  const needs = { mayCreateStore: true, create: create === true, logs: "changes" } as const;
  try {
    const { signal } = invocation;
    parseUserId(user);
    return await invocation.withManager(needs, async ({ manager }) => {
      const found = await manager.syncAndGetKey(user, { signal, reason, autoProvision: false });
      if (renew !== true || found.error !== null) return found;
      const renewed = await manager.renew(user, { signal, reason });
      const isUnchecked = renewed.error !== null && UNCHECKED.has(renewed.error.code);
      if (!isUnchecked) return renewed;
      invocation.terminal.warning(`the key was not checked: ${renewed.error.message}`);
      return found;
    });
  } catch (thrown) {
    return syncFailed(user, toKeyctlError(thrown));
  }
}

/** The command's own output is on stdout: a document of ours stands there only where --json asks for it. */
async function failed({ terminal, receivedSignal }: Invocation, error: KeyctlError): Promise<KeyctlError> {
  if (terminal.options.json) await terminal.document({ error: errorDocument(error, receivedSignal()) });
  return error;
}

function notStarted(file: string, { exitCode, systemCode }: Extract<CommandEnd, { kind: "not-started" }>): KeyctlError {
  const problem = exitCode === 127 ? "was not found" : `cannot be run (${systemCode})`;
  // Node starts programs only: npm is npm.cmd there.
  const hint =
    process.platform === "win32" ? { hint: `a .cmd or .bat file needs its shell: cmd /c ${printable(file)}` } : {};
  return new KeyctlError("USAGE", `the command '${printable(file)}' ${problem}`, hint);
}
