import { printable } from "../../core/text/printable.ts";
import { shellQuote } from "../../core/text/shell-quote.ts";
import { splitAtDashes } from "../command-again.ts";
import type { UsageMistake, Word } from "./usage-mistake.ts";

/** An option as commander knows it. */
export interface KnownOption {
  /** `-u, --user <id>` */
  readonly flags: string;
  /** `-u` */
  readonly short?: string | undefined;
  /** `--user` */
  readonly long?: string | undefined;
  /** A value follows the option. */
  readonly required: boolean;
}

const HELP: KnownOption = { flags: "-h, --help", short: "-h", long: "--help", required: false };
/** An empty variable, as in `--users-file "$FILE"`, names no file: not even the current directory. */
const NEVER_EMPTY = /<(?:path|file|uri|kid)\b/;
/** A shorter prefix of a long option may be a short option with its value. */
const SHORTEST_BEGINNING = 3;

/** The place of a word, and what it was meant to be. */
interface Slip {
  readonly message: string;
  /** In place of `length` words from the word on. */
  readonly words?: readonly Word[];
  readonly length?: number;
  readonly hint?: string;
}

/**
 * **Invariant:** no typing mistake becomes a user id, for which a key may be created. `-user=alice` is `-u` with the value
 * `ser=alice`, `-u=alice` is `-u` with `=alice`, `-quiet` is `-q -u iet`, and an empty `$ID` in `--user $ID --all` makes
 * `--all` the user. The first of these, with a suggestion.
 * @param options those of the program and of the command
 */
export function optionMistake(words: readonly string[], options: readonly KnownOption[]): UsageMistake | undefined {
  const known = [...options, HELP];
  for (let index = 0; index < words.length; index += 1) {
    const word = words[index] ?? "";
    const [next, afterNext] = words.slice(index + 1);
    if (word === "--") return undefined;
    const option = optionBefore(word, known);
    const badName = /^-[^-]/.test(word) ? oneDashSlip(word, next, known) : undefined;
    const badValue = option !== undefined && next !== undefined && valueSlip(option, next, afterNext, known);
    const emptied = known.find(({ flags, long }) => NEVER_EMPTY.test(flags) && word === `${long}=`);
    if (badName !== undefined) return mistakeAt(words, index, badName);
    if (emptied !== undefined)
      return mistakeAt(words, index, { ...emptyValue(emptied), words: optionWords(emptied, undefined) });
    if (badValue) return mistakeAt(words, index + 1, badValue);
    if (option !== undefined) index += 1;
  }
  return undefined;
}

/** A word that belongs to no option, with its place. */
export interface Operand {
  readonly index: number;
  readonly word: string;
}

/** The words that belong to no option; the command is the first. */
export function operandsOf(words: readonly string[], options: readonly KnownOption[]): readonly Operand[] {
  const operands: Operand[] = [];
  const dashes = words.indexOf("--");
  for (let index = 0; index < words.length; index += 1) {
    const word = words[index] ?? "";
    if (index === dashes) continue;
    if ((dashes !== -1 && index > dashes) || !/^-./.test(word)) operands.push({ index, word });
    else if (optionBefore(word, options) !== undefined) index += 1;
  }
  return operands;
}

/** Whether `--user` stands before the first `--`. */
export function isUserNamed(words: readonly string[]): boolean {
  const [before] = splitAtDashes(words);
  return before.some((word) => /^(?:-u|--user(?:=|$))/.test(word));
}

/** The words of an option with its value, or with the place of one. */
export function optionWords({ long = "", flags }: KnownOption, value: string | undefined): readonly Word[] {
  if (value === undefined || value === "") return [long, { placeholder: /<.*>/.exec(flags)?.[0] ?? "<value>" }];
  return /^[-=]/.test(value) ? [`${long}=${value}`] : [long, value];
}

function mistakeAt(
  words: readonly string[],
  index: number,
  { message, words: meaning, length = 1, hint }: Slip,
): UsageMistake {
  const corrected = meaning && [...words.slice(0, index), ...meaning, ...words.slice(index + length)];
  return { message, ...(corrected === undefined ? {} : { corrected }), ...(hint === undefined ? {} : { hint }) };
}

/** A single dash is followed by one letter, several switches, or `-u` and its value. */
function oneDashSlip(word: string, next: string | undefined, known: readonly KnownOption[]): Slip | undefined {
  const [name, value] = split(word.slice(1));
  const long = name.length === 1 ? undefined : known.find((option) => isBeginning(name, option));
  if (long !== undefined) {
    const following = value === undefined && long.required ? valueIn(next) : undefined;
    return { ...unknown(`-${name}`, long, value ?? following), length: following === undefined ? 1 : 2 };
  }
  const { switches, option, attached } = cluster(name, known);
  if (value !== undefined && name.length > 1) return unknown(`-${name}`, option, value);
  if (value !== undefined && option !== undefined) {
    const meaning = `did you mean ${meant(option, value)}?`;
    return { message: `-${name} takes no = before its value; ${meaning}`, words: optionWords(option, value) };
  }
  if (option === undefined || attached === "" || switches === "") return undefined;
  const message = `unknown option '${printable(word)}'; did you mean -${switches} ${meant(option, attached)}?`;
  return { message, words: [`-${switches}`, ...optionWords(option, attached)] };
}

/** A value that looks like an option is a missing value; a value that begins with `=` was meant without it. */
function valueSlip(
  option: KnownOption,
  value: string,
  next: string | undefined,
  known: readonly KnownOption[],
): Slip | undefined {
  const { long = "" } = option;
  if (value === "" && NEVER_EMPTY.test(option.flags)) return emptyValue(option);
  const hint = `${long}=${shellQuote(value)}   takes it as it stands`;
  const isOption = known.some(({ short, long: other }) => value === short || split(value)[0] === other);
  if (value === "--" || isOption) {
    const [, place = ""] = optionWords(option, undefined);
    return {
      message: `${long} needs a value, and '${printable(value)}' is an option`,
      words: [place],
      length: 0,
      hint,
    };
  }
  if (!value.startsWith("=")) return undefined;
  const wanted = value === "=" ? valueIn(next) : value.slice(1);
  const message = `the value of ${long} begins with =`;
  if (wanted === undefined) return { message, hint };
  const guess = `${message}; did you mean ${long} ${shellQuote(wanted)}?`;
  return { message: guess, words: [wanted], length: value === "=" ? 2 : 1, hint };
}

/** Whether a word is one of these options, with or without its value. */
export function isOneOf(word: string, options: readonly KnownOption[]): boolean {
  return options.some(({ short, long }) => long === split(word)[0] || (short !== undefined && word.startsWith(short)));
}

function emptyValue(option: KnownOption): Slip {
  return {
    message: `${option.long} needs a value, and this one is empty`,
    words: optionWords(option, undefined).slice(1),
  };
}

/** The option whose value the next word is. */
export function optionBefore(word: string, known: readonly KnownOption[]): KnownOption | undefined {
  if (word.startsWith("--")) return known.find(({ long, required }) => required && long === word);
  const { option, attached } = cluster(word.replace(/^-/, ""), known);
  return /^-./.test(word) && attached === "" ? option : undefined;
}

/** `qualice` as commander reads it: switches, then an option with its value. */
function cluster(letters: string, known: readonly KnownOption[]) {
  for (let index = 0; index < letters.length; index += 1) {
    const option = known.find(({ short }) => short === `-${letters.charAt(index)}`);
    if (option === undefined) break;
    if (option.required) return { switches: letters.slice(0, index), option, attached: letters.slice(index + 1) };
  }
  return { switches: letters, option: undefined, attached: "" };
}

function isBeginning(name: string, { long = "" }: KnownOption): boolean {
  return long === `--${name}` || (name.length >= SHORTEST_BEGINNING && long.startsWith(`--${name}`));
}

function split(word: string): readonly [name: string, value?: string] {
  const at = word.indexOf("=");
  return at === -1 ? [word] : [word.slice(0, at), word.slice(at + 1)];
}

function valueIn(next: string | undefined): string | undefined {
  return next?.startsWith("-") === false ? next : undefined;
}

function meant({ long = "", required }: KnownOption, value: string | undefined): string {
  return required && value !== undefined ? `${long} ${shellQuote(value)}` : long;
}

/** The text after the = of an unknown option may be a secret and is not repeated. */
function unknown(word: string, option: KnownOption | undefined, value: string | undefined): Slip {
  const message = `unknown option '${printable(word)}'`;
  if (option === undefined) return { message };
  const words = option.required ? optionWords(option, value) : [option.long ?? ""];
  return { message: `${message}; did you mean ${meant(option, value)}?`, words };
}
