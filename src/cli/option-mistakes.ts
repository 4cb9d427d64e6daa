import { KeyctlError } from "../core/model/errors.ts";
import { printable } from "../core/text/printable.ts";
import { shellQuote } from "../core/text/shell-quote.ts";

/** An option as commander knows it. */
export interface KnownOption {
  /** `-u` */
  readonly short?: string | undefined;
  /** `--user` */
  readonly long?: string | undefined;
  /** A value follows the option. */
  readonly required: boolean;
}

const HELP: KnownOption = { short: "-h", long: "--help", required: false };
/** A shorter prefix of a long option may be a short option with its value. */
const SHORTEST_BEGINNING = 3;

/**
 * **Invariant:** no typing mistake becomes a user id, for which a key may be created. `-user=alice` is `-u` with the value
 * `ser=alice`, `-u=alice` is `-u` with `=alice`, `-quiet` is `-q -u iet`, and an empty `$ID` in `--user $ID --all` makes
 * `--all` the user. Throws USAGE for each of these, with a suggestion.
 * @param options those of the program and of the command
 */
export function refuseOptionMistakes(words: readonly string[], options: readonly KnownOption[]): void {
  const known = [...options, HELP];
  for (let index = 0; index < words.length; index += 1) {
    const word = words[index] ?? "";
    const [next, afterNext] = words.slice(index + 1);
    if (word === "--") return;
    if (/^-[^-]/.test(word)) refuseOneDash(word, next, known);
    const option = optionBefore(word, known);
    if (option === undefined || next === undefined) continue;
    refuseValue(option, next, afterNext, known);
    index += 1;
  }
}

/** Whether a word is one of these options, with or without its value. */
export function isKnownOption(word: string, options: readonly KnownOption[]): boolean {
  return options.some(({ short, long }) => long === split(word)[0] || (short !== undefined && word.startsWith(short)));
}

/** Whether the next word is the value of this one. */
export function takesNextWord(word: string, options: readonly KnownOption[]): boolean {
  return optionBefore(word, options) !== undefined;
}

/** A single dash is followed by one letter, several switches, or `-u` and its value. */
function refuseOneDash(word: string, next: string | undefined, known: readonly KnownOption[]): void {
  const [name, value] = split(word.slice(1));
  const long = name.length === 1 ? undefined : known.find((option) => isBeginning(name, option));
  if (long !== undefined) throw unknown(`-${name}`, meant(long, value ?? valueIn(next)));
  const { switches, option, attached } = cluster(name, known);
  if (value !== undefined && name.length > 1) throw unknown(`-${name}`, option && meant(option, value));
  if (value !== undefined && option !== undefined) throw withEquals(`-${name}`, meant(option, value));
  if (option === undefined || attached === "" || switches === "") return;
  throw unknown(word, `-${switches} ${meant(option, attached)}`);
}

/** A value that looks like an option is a missing value; a value that begins with `=` was meant without it. */
function refuseValue(
  { long = "" }: KnownOption,
  value: string,
  next: string | undefined,
  known: readonly KnownOption[],
): void {
  const hint = `${long}=${shellQuote(value)}   takes it as it stands`;
  const isOption = known.some(({ short, long: other }) => value === short || split(value)[0] === other);
  if (value === "--" || isOption) {
    throw new KeyctlError("USAGE", `${long} needs a value, and '${printable(value)}' is an option`, { hint });
  }
  if (!value.startsWith("=")) return;
  const wanted = value === "=" ? valueIn(next) : value.slice(1);
  const guess = wanted === undefined ? "" : `; did you mean ${long} ${shellQuote(wanted)}?`;
  throw new KeyctlError("USAGE", `the value of ${long} begins with =${guess}`, { hint });
}

/** The option whose value the next word is. */
function optionBefore(word: string, known: readonly KnownOption[]): KnownOption | undefined {
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

function withEquals(word: string, meaning: string): KeyctlError {
  return new KeyctlError("USAGE", `${word} takes no = before its value; did you mean ${meaning}?`, { hint: meaning });
}

/** The text after the = of an unknown option may be a secret and is not repeated. */
function unknown(word: string, meaning: string | undefined): KeyctlError {
  const guess = meaning === undefined ? "" : `; did you mean ${meaning}?`;
  return new KeyctlError("USAGE", `unknown option '${printable(word)}'${guess}`, {
    hint: "the name of an option begins with two dashes",
  });
}
