import type { Command } from "commander";
import { KeyctlError } from "../../../core/model/errors.ts";
import { printable } from "../../../core/text/printable.ts";
import type { Invocation, Run } from "../../invocation.ts";
import { unlessReaderGone } from "../../terminal/end-of-run.ts";
import { bashScript } from "./bash.ts";
import { fishScript } from "./fish.ts";
import { powershellScript } from "./powershell.ts";
import { programWords } from "./program-words.ts";
import type { ProgramWords } from "./program-words.ts";
import { zshScript } from "./zsh.ts";

/** Each script is static text that never calls keyctl: a key stroke starts no process. */
const SCRIPTS: Readonly<Record<string, (words: ProgramWords) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
  powershell: powershellScript,
};
const SHELLS = Object.keys(SCRIPTS);

export function configureCommand(command: Command, run: Run, whole: () => Promise<Command>): void {
  const shell = command.createArgument("[shell]", "whose script").choices(SHELLS);
  command
    .addArgument(shell.argParser((text: string) => text))
    .addHelpText(
      "after",
      `
The script knows the commands, their options and the values of these. It opens
nothing and asks keyctl nothing. Make it anew after an upgrade.

Examples:
  source <(keyctl completion bash)
  keyctl completion zsh > ~/.zfunc/_keyctl
  keyctl completion fish > ~/.config/fish/completions/keyctl.fish
  keyctl completion powershell | Out-String | Invoke-Expression`,
    )
    .action((name?: string) => run((invocation) => completion(invocation, name, whole))({}));
}

async function completion(
  { terminal }: Invocation,
  shell: string | undefined,
  whole: () => Promise<Command>,
): Promise<KeyctlError | null> {
  const script = shell !== undefined && Object.hasOwn(SCRIPTS, shell) ? SCRIPTS[shell] : undefined;
  if (script === undefined) {
    const problem = shell === undefined ? "no shell is given" : `there is no completion for '${printable(shell)}'`;
    throw new KeyctlError("USAGE", `${problem}: ${SHELLS.join(", ")}`, { hint: "keyctl completion --help" });
  }
  const text = script(programWords(await whole()));
  return unlessReaderGone(async () => {
    if (terminal.options.json) await terminal.document({ shell, script: text, error: null });
    else await terminal.result(text);
    return null;
  });
}
