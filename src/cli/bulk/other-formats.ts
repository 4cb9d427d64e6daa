import { KeyctlError } from "../../core/model/errors.ts";
import { MASK_LIKE } from "../../core/model/mask.ts";
import { KEY_LIKE } from "../../core/model/redact-keys.ts";
import { printable } from "../../core/text/printable.ts";
import { shellQuote } from "../../core/text/shell-quote.ts";

/** Names of the column or the field with the user, in lower case and without signs; the surest first. */
const USER_NAMES: readonly string[] = ["userid", "user", "username", "uid", "id"];
const OTHER_NAMES: ReadonlySet<string> = new Set(["key", "apikey", "source", "email", "name"]);
/** The name of a column: no blank before it, as people put behind the comma of a person's name. */
const NAME = /^"?[A-Za-z][\w.-]*(?: [\w.-]+)*"?$/;
/** `user_id` alone is the name of a column, and `user` may be a user. */
const NAME_OF_ONE_COLUMN = /^"?(?:\w+_id|user-?id)"?$/i;
const JSON_BEGUN = /^\s*(?:\{\s*(?:"|$)|\[\s*(?:["{[]|$))/;
const SEPARATORS = [",", ";", "\t", "|"] as const;
const ONE_PER_LINE = "a users file has one user id per line";

/**
 * CSV and JSON are no lists of user ids: a run would take every line for a user, or refuse it. Throws USAGE that names the
 * form and what takes it; repeats nothing of a line.
 * @param lines the first lines that are not blank
 * @param path `-` is standard input
 */
export function refuseOtherFormats(lines: readonly string[], path: string): void {
  const found = jsonIn(lines) ?? csvIn(lines);
  if (found === undefined) return;
  const name = path === "-" ? "standard input" : `the users file ${printable(path)}`;
  throw new KeyctlError("USAGE", `${name} looks like ${found.form}: ${found.because}`, {
    hint: found.hint(path === "-" ? "-" : shellQuote(path)),
  });
}

interface OtherFormat {
  readonly form: "CSV" | "JSON";
  readonly because: string;
  readonly hint: (path: string) => string;
}

function jsonIn(lines: readonly string[]): OtherFormat | undefined {
  const text = lines.find((line) => JSON_BEGUN.test(line));
  if (text === undefined) return undefined;
  const because = "a line of it begins an object or a list";
  if (lines.some((line) => KEY_LIKE.test(line))) return { form: "JSON", because, hint: importing("--jsonl") };
  const place = placeOfUsers(parsed(text) ?? parsed(lines.join("\n")));
  const hint = place === undefined ? () => ONE_PER_LINE : extracting(`jq -r ${shellQuote(place)}`, "");
  return { form: "JSON", because, hint };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Where jq finds the user ids in a value like this one; undefined if that is not clear. */
function placeOfUsers(value: unknown): string | undefined {
  if (Array.isArray(value)) {
    const [first]: readonly unknown[] = value;
    if (typeof first === "string") return ".[]";
    const place = Array.isArray(first) ? undefined : placeOfUsers(first);
    return place === undefined ? undefined : `.[]${place}`;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const names = Object.keys(value);
  const at = placeOfUser(names);
  return at === -1 || !/^\w+$/.test(names[at] ?? "") ? undefined : `.${names[at]}`;
}

function csvIn(lines: readonly string[]): OtherFormat | undefined {
  const [first = ""] = lines;
  for (const separator of SEPARATORS) {
    const found = keysBeside(lines, separator) ?? headerIn(lines, separator);
    if (found !== undefined) return found;
  }
  if (!NAME_OF_ONE_COLUMN.test(first)) return undefined;
  const hint = lines.some((line) => line.includes('"')) ? unquoted : extracting("tail -n +2", "");
  return { form: "CSV", because: "its first line holds the name of a column", hint };
}

function keysBeside(lines: readonly string[], separator: string): OtherFormat | undefined {
  const because = "a line of it holds a key beside something else";
  const split = lines.filter((line) => line.includes(separator));
  if (split.some((line) => KEY_LIKE.test(line))) {
    return { form: "CSV", because, hint: separator === "," ? importing("--csv") : importingChanged(separator) };
  }
  if (!split.some((line) => MASK_LIKE.test(line.split(separator).at(-1) ?? ""))) return undefined;
  return { form: "CSV", because, hint: column(lines, separator, 0) };
}

function headerIn(lines: readonly string[], separator: string): OtherFormat | undefined {
  const names = lines[0]?.split(separator) ?? [];
  const at = placeOfUser(names);
  const isKnown = names.every((name) => USER_NAMES.includes(plain(name)) || OTHER_NAMES.has(plain(name)));
  const hasIds = at !== -1 || names.some((name) => NAME_OF_ONE_COLUMN.test(name));
  if (names.length < 2 || !(isKnown || (hasIds && names.every((name) => NAME.test(name))))) return undefined;
  const because = "its first line holds the names of columns";
  if (names.some((name) => plain(name) === "key")) {
    return { form: "CSV", because, hint: separator === "," ? importing("--csv") : importingChanged(separator) };
  }
  return { form: "CSV", because, hint: at === -1 ? () => ONE_PER_LINE : column(lines, separator, at, " | tail -n +2") };
}

function importing(flag: string): OtherFormat["hint"] {
  return (path) => `keyctl import ${flag} ${path}   stores the keys of many users; ${ONE_PER_LINE}`;
}

/** `import` reads commas. */
function importingChanged(separator: string): OtherFormat["hint"] {
  const changed = `tr ${separator === "\t" ? String.raw`'\t'` : shellQuote(separator)} ,`;
  return (path) =>
    `${changed}${path === "-" ? "" : ` < ${path}`} | keyctl import --csv -   stores the keys of many users`;
}

function column(lines: readonly string[], separator: string, at: number, rest = ""): OtherFormat["hint"] {
  if (lines.some((line) => line.includes('"'))) return unquoted;
  const delimiter = separator === "\t" ? "" : `-d${separator === "," ? separator : shellQuote(separator)} `;
  return extracting(`cut ${delimiter}-f${at + 1}`, rest);
}

function unquoted(): string {
  return `${ONE_PER_LINE}, without quotes`;
}

function extracting(command: string, rest: string): OtherFormat["hint"] {
  return (path) =>
    `${ONE_PER_LINE}: ${command}${path === "-" ? "" : ` ${path}`}${rest}   gives them, for --users-file -`;
}

/** The surest name of a user's column or field; -1 without one. */
function placeOfUser(names: readonly string[]): number {
  const all = names.map(plain);
  const name = USER_NAMES.find((each) => all.includes(each));
  return name === undefined ? -1 : all.indexOf(name);
}

function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z]/g, "");
}
