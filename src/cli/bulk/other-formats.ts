import { KeyctlError } from "../../core/model/errors.ts";
import { MASK_LIKE } from "../../core/model/mask.ts";
import { KEY_LIKE } from "../../core/model/redact-keys.ts";
import { printable } from "../../core/text/printable.ts";
import { shellQuote } from "../../core/text/shell-quote.ts";

/** Names of the column or the field with the user, in lower case and without signs. */
const USER_NAMES: ReadonlySet<string> = new Set(["user", "userid", "username", "id", "uid"]);
const OTHER_NAMES: ReadonlySet<string> = new Set(["key", "apikey", "source", "email", "name"]);
/** A column's name without a blank, which people put behind the comma of a name. */
const NAME = /^"?[A-Za-z][\w.-]*"?$/;
const JSON_BEGUN = /^\s*(?:\{\s*(?:"|$)|\[\s*(?:["{[]|$))/;
const SEPARATORS = [",", ";", "\t"] as const;

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
  const field = [...text.matchAll(/"(\w+)"\s*:/g)].map(([, name = ""]) => name).find(isUserName) ?? "user";
  return { form: "JSON", because, hint: extracting(`jq -r .${field}`, "") };
}

function csvIn(lines: readonly string[]): OtherFormat | undefined {
  const [first = ""] = lines;
  if (
    lines.some((line) => line.includes(",") && (KEY_LIKE.test(line) || MASK_LIKE.test(line.split(",").at(-1) ?? "")))
  ) {
    return { form: "CSV", because: "a line of it holds a key beside something else", hint: importing("--csv") };
  }
  for (const separator of SEPARATORS) {
    const names = first.split(separator);
    const at = names.findIndex(isUserName);
    const isHeader =
      names.every((name) => NAME.test(name)) || names.every((name) => isUserName(name) || isOtherName(name));
    if (names.length === 1 || at === -1 || !isHeader) continue;
    const because = "its first line holds the names of columns";
    if (separator === "," && names.some((name) => plain(name) === "key")) {
      return { form: "CSV", because, hint: importing("--csv") };
    }
    const delimiter = separator === "," ? "-d, " : separator === ";" ? "-d';' " : "";
    return { form: "CSV", because, hint: extracting(`cut ${delimiter}-f${at + 1}`, " | tail -n +2") };
  }
  return undefined;
}

function importing(flag: string): OtherFormat["hint"] {
  return (path) =>
    `keyctl import ${flag} ${path}   stores the keys of many users; a users file has one user id per line`;
}

function extracting(command: string, rest: string): OtherFormat["hint"] {
  return (path) =>
    `a users file has one user id per line: ${command}${path === "-" ? "" : ` ${path}`}${rest}   gives them, for --users-file -`;
}

function isUserName(name: string): boolean {
  return USER_NAMES.has(plain(name));
}

function isOtherName(name: string): boolean {
  return OTHER_NAMES.has(plain(name));
}

function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z]/g, "");
}
