import { holdsKey } from "../../core/model/redact-keys.ts";
import { printable } from "../../core/text/printable.ts";
import { userFlag } from "../../core/text/shell-quote.ts";
import { isOneOf, isUserNamed, optionBefore, optionMistake, optionWords } from "./option-mistakes.ts";
import type { KnownOption } from "./option-mistakes.ts";
import type { UsageMistake, Word } from "./usage-mistake.ts";

const HELP: ReadonlySet<string> = new Set(["-h", "--help"]);

/**
 * **Invariant:** no word of another program is read as an option of keyctl's: without `--`, `keyctl exec node --version`
 * would print the version of keyctl. The mistake of such a command line.
 * @param start the place of the first word after the verb
 */
export function forgottenDashes(
  words: readonly string[],
  start: number,
  options: readonly KnownOption[],
): UsageMistake | undefined {
  const at = firstForeignWord(words, start, options);
  if (at === undefined) return undefined;
  const own = words.slice(0, at);
  const rest = words.slice(at);
  const slip = optionMistake(own, options);
  if (slip !== undefined) return { ...slip, ...(slip.corrected && { corrected: [...slip.corrected, ...rest] }) };
  const hasUser = isUserNamed(own);
  const [first = "", second] = rest;
  if (!hasUser && second === "--" && !holdsKey(first)) {
    return {
      message: `unexpected argument '${printable(first)}'; did you mean ${userFlag(first)}?`,
      corrected: [...own, ...userWords(options, first), ...commandIn(rest.slice(2))],
    };
  }
  // `exec alice --token x -- node`: what stands before the dashes is keyctl's.
  if (!hasUser && rest.includes("--")) return undefined;
  const user = hasUser ? [] : userWords(options, undefined);
  return { message: "the command stands after --", corrected: [...own, ...user, ...commandIn(rest)] };
}

function userWords(options: readonly KnownOption[], user: string | undefined): readonly Word[] {
  const option = options.find(({ long }) => long === "--user");
  return option === undefined ? [] : optionWords(option, user);
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
    if (word === "--" || HELP.has(word) || !isOneOf(word, options)) return undefined;
    if (optionBefore(word, options) !== undefined) at += 1;
  }
  return undefined;
}

/** The words of the command; one with a key is not repeated. */
function commandIn(words: readonly string[]): readonly Word[] {
  return ["--", ...(words.some(holdsKey) ? [{ placeholder: "<command>" }] : words)];
}
