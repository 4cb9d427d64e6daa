import type { Command } from "commander";
import { KeyctlError } from "../../core/model/errors.ts";
import { looksLikeKey } from "../../core/model/user-id.ts";
import { typedLine } from "./usage-mistake.ts";
import type { Unparsed, UsageContext, UsageMistake, Word } from "./usage-mistake.ts";
import { argumentMistake } from "./argument-mistake.ts";
import { commandMistake } from "./command-mistake.ts";
import { operandsOf } from "./option-mistakes.ts";
import { missingValue, unknownOption } from "./unknown-option.ts";

/** A command line has few mistakes, and the correction of one could be another. */
const MOST_MISTAKES = 5;
/** What stands for the value that only the person knows, so that the rest of the command line can be parsed. */
const VALUES: readonly string[] = ["1", "1d", "1/1"];
/** Commands that do something useful, and change nothing, without any word. */
const USEFUL_ALONE: readonly string[] = ["list", "list --count", "doctor"];

/** The USAGE error of a command line. Its hint is the whole command line as it was meant, if that is understood. */
export async function usageError(unparsed: Unparsed, context: UsageContext): Promise<KeyctlError> {
  const { message, corrected, hint } = await mistakeOf(unparsed, context);
  const isRepeatable = !(corrected ?? []).some((word) => typeof word === "string" && looksLikeKey(word));
  const meant = corrected && isRepeatable ? await understood(corrected, unparsed.words, context) : undefined;
  const said = [meant, corrected, unparsed.words].map((words = []) => verbOf(words, unparsed.program, context.verbs));
  const help = `keyctl ${[...said.filter((verb) => verb !== undefined).slice(0, 1), "--help"].join(" ")}`;
  return new KeyctlError("USAGE", message, { hint: meant === undefined ? (hint ?? help) : typedLine(meant) });
}

function verbOf(words: readonly Word[], program: Command, verbs: readonly string[]): string | undefined {
  const texts = words.map((word) => (typeof word === "string" ? word : word.placeholder));
  return operandsOf(texts, program.options).find(({ word }, index) => index === 0 && verbs.includes(word))?.word;
}

async function mistakeOf({ cause, words, program }: Unparsed, context: UsageContext): Promise<UsageMistake> {
  if (!("code" in cause)) return cause;
  switch (cause.code) {
    case "commander.unknownCommand":
      return commandMistake(words, program, context.verbs);
    case "commander.unknownOption":
      return unknownOption({ words, program }, quotedIn(cause.message), context);
    case "commander.optionMissingArgument":
      return missingValue(words, quotedIn(cause.message));
    case "commander.excessArguments":
      return argumentMistake(words, program);
    default:
      return { message: cause.message.replace(/^error: /, "") };
  }
}

function quotedIn(message: string): string {
  return /'(.*)'/.exec(message.split("\n")[0] ?? "")?.[1] ?? "";
}

/** The command line without its further mistakes; undefined if it is not understood, or is too short to be of use. */
async function understood(
  corrected: readonly Word[],
  typed: readonly string[],
  context: UsageContext,
): Promise<readonly Word[] | undefined> {
  if (corrected.some((word) => typeof word !== "string")) {
    for (const value of VALUES) {
      if (
        await isUnderstood(
          corrected.map((word) => (typeof word === "string" ? word : value)),
          context,
        )
      )
        return corrected;
    }
    return undefined;
  }
  let words = corrected.filter((word) => typeof word === "string");
  for (let count = 0; count < MOST_MISTAKES; count += 1) {
    const unparsed = await parsed(words, context);
    if (unparsed === undefined) return undefined;
    if (unparsed === null) return isOfUse(words, typed) ? words : undefined;
    const next = (await mistakeOf(unparsed, context)).corrected;
    if (next?.every((word) => typeof word === "string") !== true) return undefined;
    words = [...next];
  }
  return undefined;
}

/** A word alone stands for a command that needs more. */
function isOfUse(words: readonly string[], typed: readonly string[]): boolean {
  return (
    typed.length > 1 ||
    words[0]?.startsWith("-") === true ||
    words[0] === "help" ||
    USEFUL_ALONE.includes(words.join(" "))
  );
}

async function isUnderstood(words: readonly string[], context: UsageContext): Promise<boolean> {
  return (await parsed(words, context)) === null;
}

/** Undefined if the value of an option is refused. */
async function parsed(words: readonly string[], { parse }: UsageContext): Promise<Unparsed | null | undefined> {
  try {
    return await parse(words);
  } catch {
    return undefined;
  }
}
