import type { Command } from "commander";
import { printable } from "../../core/text/printable.ts";
import { getOf } from "./argument-mistake.ts";
import { closest } from "../../core/text/closest.ts";
import { operandsOf, optionWords } from "./option-mistakes.ts";
import type { KnownOption } from "./option-mistakes.ts";
import { commandMeant, OTHER_OPTIONS, optionMeant, SECRET_OPTIONS } from "./other-words.ts";
import { FALSE, SWITCH_VALUE, switchWithValue } from "./switch-value.ts";
import type { Unparsed, UsageContext, UsageMistake, Word } from "./usage-mistake.ts";

/** An option that the command lacks, where it stands. */
interface Stray {
  readonly words: readonly string[];
  /** -1 if it is one of several letters behind a dash. */
  readonly index: number;
  readonly name: string;
  /** What stands behind its `=`. It may be a secret: of an option that nobody knows, it is not repeated. */
  readonly value: string | undefined;
  /** Those that may stand there. */
  readonly known: readonly KnownOption[];
}

const MOST_OWNERS = 3;

/** @param option as commander quotes it, with what stands behind its `=` */
export async function unknownOption(
  { words, program }: Pick<Unparsed, "words" | "program">,
  option: string,
  context: UsageContext,
): Promise<UsageMistake> {
  const [name = "", value] = option.split(/=(.*)/s);
  const index = words.findIndex((word) => word.split("=")[0] === name);
  const [verb] = operandsOf(words, program.options);
  const command = program.commands.find((each) => each.name() === verb?.word);
  const isBehind = command !== undefined && (index === -1 || index > (verb?.index ?? 0));
  const stray = { words, index, name, value, known: [...program.options, ...(isBehind ? command.options : [])] };
  const message = `unknown option '${printable(name)}'`;
  if (SECRET_OPTIONS.has(name)) return { message, hint: "keyctl save --user <id>   asks for a key and hides it" };
  return (
    withoutValue(stray) ??
    ofOtherTools(stray, message) ??
    (isBehind ? await ofOtherCommand(stray, command, context) : await beforeCommand(stray, message, context)) ??
    byItsLetters(stray, message)
  );
}

/** An option without the value that it needs: the last word. */
export function missingValue(words: readonly string[], flags: string): UsageMistake {
  const long = /--[\w-]+/.exec(flags)?.[0] ?? flags;
  const [, place = ""] = optionWords({ flags, long, required: true }, undefined);
  return { message: `${long} needs a value`, corrected: [...words, place] };
}

/** What stands behind an option that is a switch here. */
const SPOKEN_VALUE = new RegExp(`${SWITCH_VALUE.source}|^json\\w*$`, "i");

/** `--json=true`. */
function withoutValue({ words, index, name, value, known }: Stray): UsageMistake | undefined {
  const option = known.find(({ long, required }) => long === name && !required);
  if (option === undefined || value === undefined) return undefined;
  return switchWithValue(words, { index, length: 1, name, value });
}

function ofOtherTools(stray: Stray, message: string): UsageMistake | undefined {
  const { words, index, name, value, known } = stray;
  const optionOf = (long: string) => known.find((option) => option.long === long);
  // `--format json`, `--color never`, `--force true`
  const next = words[index + 1];
  const said = value ?? (/(?:format|colou?r)$/.test(name) || SPOKEN_VALUE.test(next ?? "") ? next : undefined);
  const hasValue = said === undefined && next?.startsWith("-") === false;
  const option = optionOf(optionMeant(name, (long) => optionOf(long)?.required, hasValue) ?? "");
  if (option === undefined || index === -1) return hasValue && OTHER_OPTIONS.has(name) ? { message } : undefined;
  if (name === "-f" && option.required && !/[./]/.test(next ?? "")) return { message };
  const guess = `${message}; did you mean '${option.long}'?`;
  if (option.required) return { message: guess, corrected: renamed(stray, option) };
  const wanted = option.long === "--no-color" ? FALSE : /^(?:json\w*|true|1|yes)$/i;
  if (said !== undefined && !wanted.test(said)) return { message };
  if (said === undefined && /^--colou?r$/.test(name)) return { message };
  const length = said === undefined || value !== undefined ? 1 : 2;
  const meant = [option.long ?? ""].filter((long) => !words.includes(long));
  return { message: guess, corrected: words.toSpliced(index, length, ...meant) };
}

/** An option of another command, as it is. */
async function ofOtherCommand(
  { words, index, name, value }: Stray,
  command: Command,
  { whole }: UsageContext,
): Promise<UsageMistake | undefined> {
  const owners = ownersOf(name, (await whole()).commands);
  if (owners.length === 0) return undefined;
  if (command.name() === "list" && (name === "--user" || name === "-u")) {
    const message = `unknown option '${name}'; keyctl list is about all users`;
    const user = value ?? words[index + 1];
    if (user === undefined) return { message, hint: "keyctl get --user <id> --stored" };
    return { message, corrected: getOf(words, command.name(), user) };
  }
  const names = owners.map((owner) => `keyctl ${owner.name()}`);
  const who =
    names.length > MOST_OWNERS
      ? "other commands have it"
      : `${names.join(" and ")} ${names.length === 1 ? "has" : "have"} it`;
  return { message: `unknown option '${name}'; ${who}` };
}

/** `--list`, or an option of a command in front of it. */
async function beforeCommand(
  { words, index, name }: Stray,
  message: string,
  { verbs, whole }: UsageContext,
): Promise<UsageMistake | undefined> {
  const verb = words.find((word) => verbs.includes(word));
  const owners = ownersOf(name, (await whole()).commands);
  if (verb !== undefined && owners.some((owner) => owner.name() === verb)) {
    return { message: `${message} before the command`, corrected: [verb, ...words.filter((word) => word !== verb)] };
  }
  if (verb !== undefined) return undefined;
  if (owners.length > 0) return { message: `${message}; the command comes first` };
  const word = name.replace(/^--/, "");
  const meaning = verbs.includes(word) ? word : commandMeant(word);
  if (meaning === undefined) return undefined;
  const corrected = words.toSpliced(index, 1, ...meaning.split(" "));
  return { message: `${message}; did you mean 'keyctl ${meaning}'?`, corrected };
}

function ownersOf(name: string, commands: readonly Command[]): readonly Command[] {
  return commands.filter(({ options }) => options.some(({ long, short }) => long === name || short === name));
}

function byItsLetters(stray: Stray, message: string): UsageMistake {
  const names = [...stray.known.map(({ long = "" }) => long), "--help"].map((long) => long.slice(2));
  const near = stray.name.startsWith("--") ? closest(stray.name.slice(2), names) : [];
  if (near.length === 0) return { message };
  const guess = `${message}; did you mean ${near.map((name) => `'--${name}'`).join(" or ")}?`;
  const option = stray.known.find(({ long }) => long === `--${near[0]}`);
  return {
    message: guess,
    ...(near.length === 1 && option !== undefined ? { corrected: renamed(stray, option) } : {}),
  };
}

/** The words with the option under its own name. */
function renamed({ words, index, name, value }: Stray, option: KnownOption): readonly Word[] {
  if (!option.required) return words.toSpliced(index, 1, option.long ?? "");
  const [next] = words.slice(index + 1);
  const listed = value ?? next ?? "";
  if (option.long === "--user" && /(?:user|id)s$/.test(name) && /^[^-].*,/.test(listed)) {
    const users = listed.split(",").flatMap((user) => optionWords(option, user));
    return words.toSpliced(index, value === undefined ? 2 : 1, ...users.filter((word) => typeof word === "string"));
  }
  if (value === undefined && next !== undefined && !next.startsWith("-"))
    return words.toSpliced(index, 1, option.long ?? "");
  const meant: Word[] = [...words];
  meant.splice(index, 1, ...optionWords(option, value));
  return meant;
}
