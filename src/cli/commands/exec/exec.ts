import type { Command } from "commander";
import { toKeyctlError } from "../../../core/async/deadline.ts";
import { KeyctlError } from "../../../core/model/errors.ts";
import type { ErrorCode } from "../../../core/model/errors.ts";
import { environmentForCommand } from "../../../core/model/child-environment.ts";
import { syncFailed } from "../../../core/model/results.ts";
import type { SyncResult } from "../../../core/model/results.ts";
import { parseUserId } from "../../../core/model/user-id.ts";
import { printable } from "../../../core/text/printable.ts";
import { shellQuote } from "../../../core/text/shell-quote.ts";
import { addUserOption, oneUser } from "../../bulk/selection.ts";
import { errorDocument } from "../../invocation.ts";
import type { ForeignExit, Invocation, Run } from "../../invocation.ts";
import { NO_INTERPRETER } from "../../terminal/why-not-started.ts";
import type { NotStarted } from "../../terminal/why-not-started.ts";
import { sayWarnings } from "../../views/key-view.ts";
import { addCreateOption } from "../create-option.ts";
import type { CreateFlags } from "../create-option.ts";
import { addReasonOption } from "../reason-option.ts";
import type { ReasonFlags } from "../reason-option.ts";
import { DEFAULT_NAME, variableOf } from "./key-variable.ts";

interface ExecFlags extends CreateFlags, ReasonFlags {
  readonly user?: readonly string[];
  readonly env?: readonly string[];
  readonly renew?: true;
}

/** Nobody knows whether the key works: the command finds out. */
const UNCHECKED: ReadonlySet<ErrorCode> = new Set(["VERDICT_UNKNOWN", "PROVIDER_UNAVAILABLE"]);

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
  const user = userOf(invocation, flags.user ?? [], words);
  const name = variableOf(flags.env);
  // The manager sets variables for its own look-ups.
  const environment = { ...invocation.environment };
  const found = await find(invocation, user, flags);
  sayWarnings(invocation.terminal, found.warnings);
  if (found.error !== null) {
    await printDocument(invocation, errorDocument(found.error, invocation.receivedSignal()));
    return found.error;
  }
  const end = await invocation.runCommand(words, environmentForCommand(environment, name, found.key.reveal()));
  if (end.kind === "ended") return end;
  const { exitCode } = end;
  const error = notStarted(words, end);
  invocation.terminal.error(error);
  await printDocument(invocation, { ...errorDocument(error, invocation.receivedSignal()), exit_code: exitCode });
  return { exitCode };
}

/** The one user, if there is a command to start. Throws USAGE with the command line as it was meant. */
function userOf({ commandAgain }: Invocation, users: readonly string[], words: readonly string[]): string {
  const example = words.length === 0 ? " -- node app.js" : "";
  const user = oneUser("exec", users, commandAgain(`--user <id>${example}`));
  if (words.length > 0) return user;
  throw new KeyctlError("USAGE", "no command is given", { hint: commandAgain("-- node app.js") });
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

/** The command's own output is on stdout: a document of ours stands there only before it, and where --json asks for it. */
async function printDocument({ terminal }: Invocation, error: object | null): Promise<void> {
  if (terminal.options.json) await terminal.document({ error });
}

function notStarted([file = "", ...others]: readonly string[], end: NotStarted): KeyctlError {
  const { problem } = end;
  return new KeyctlError("USAGE", `the command '${printable(file)}' ${problem}`, { hint: hintFor(file, others, end) });
}

function hintFor(file: string, others: readonly string[], { problem, exitCode }: NotStarted): string {
  const quoted = shellQuote(file);
  // Node starts programs only: npm is npm.cmd there.
  if (process.platform === "win32") return `a .cmd or .bat file needs its shell: cmd /c ${quoted}`;
  if (problem === NO_INTERPRETER) return "correct the first line of the script: the path after #!";
  if (exitCode === 126) return `chmod +x ${quoted}   lets you run a program; a folder is none`;
  if (/\s/.test(file.trim()) && others.length === 0) {
    const apart = file.trim().split(/\s+/).map(shellQuote).join(" ");
    return `write its words apart:   -- ${apart}   or let a shell read them:   -- sh -c ${quoted}`;
  }
  if (file === "" || file.includes("/")) return "check the path, which is the first word after --";
  return `check the name and PATH; a word of your shell needs it:   -- sh -c ${shellQuote([file, ...others].map(shellQuote).join(" "))}`;
}
