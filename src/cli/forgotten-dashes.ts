import { holdsKey } from "../core/model/redact-keys.ts";
import { KeyctlError } from "../core/model/errors.ts";
import { printable } from "../core/text/printable.ts";
import { shellQuote, userFlag } from "../core/text/shell-quote.ts";
import { isKnownOption, refuseOptionMistakes, takesNextWord } from "./option-mistakes.ts";
import type { KnownOption } from "./option-mistakes.ts";

const HELP: ReadonlySet<string> = new Set(["-h", "--help"]);

/**
 * **Invariant:** no word of another program is read as an option of keyctl's: without `--`, `keyctl exec node --version`
 * would print the version of keyctl. Throws USAGE for such a command line, with the one that was meant.
 * @param start the place of the first word after the verb
 */
export function refuseForgottenDashes(words: readonly string[], start: number, options: readonly KnownOption[]): void {
  const at = firstForeignWord(words, start, options);
  if (at === undefined) return;
  const own = words.slice(0, at);
  refuseOptionMistakes(own, options);
  const rest = words.slice(at);
  const hasUser = own.some((word) => /^(?:-u|--user(?:=|$))/.test(word));
  const [first = "", second] = rest;
  if (!hasUser && second === "--" && !holdsKey(first)) {
    throw new KeyctlError("USAGE", `unexpected argument '${printable(first)}'; did you mean ${userFlag(first)}?`, {
      hint: commandLine([...own.map(shellQuote), userFlag(first)], rest.slice(2)),
    });
  }
  throw new KeyctlError("USAGE", "the command stands after --", {
    hint: commandLine([...own.map(shellQuote), ...(hasUser ? [] : ["--user <id>"])], rest),
  });
}

/** Undefined if there is none before `--`, and for what keyctl itself answers: a request for help, an unknown option. */
function firstForeignWord(
  words: readonly string[],
  start: number,
  options: readonly KnownOption[],
): number | undefined {
  for (let at = start; at < words.length; at += 1) {
    const word = words[at] ?? "";
    if (!/^-./.test(word)) return at;
    if (word === "--" || HELP.has(word) || !isKnownOption(word, options)) return undefined;
    if (takesNextWord(word, options)) at += 1;
  }
  return undefined;
}

function commandLine(own: readonly string[], command: readonly string[]): string {
  const shown = command.some(holdsKey) ? ["<command>"] : command.map(shellQuote);
  return ["keyctl", ...own, "--", ...shown].join(" ");
}
