import type { ImportEntry } from "../../../core/change/import-keys.ts";
import { KeyctlError } from "../../../core/model/errors.ts";
import { ApiKey } from "../../../core/model/api-key.ts";
import { holdsKey } from "../../../core/model/redact-keys.ts";
import { counted, formatNumber } from "../../../core/text/format.ts";
import { printable } from "../../../core/text/printable.ts";
import type { NumberedLine } from "../../bulk/users-file.ts";
import { csvRecords, MAX_RECORD_LENGTH, TOO_LONG } from "./csv-records.ts";
import type { CsvRecord } from "./csv-records.ts";

/** A line with a user's key, or with a fault; a fault repeats nothing of the line. */
export type ImportLine = { readonly number: number } & (
  | { readonly entry: ImportEntry; readonly error: null }
  | { readonly entry: null; readonly error: KeyctlError }
);

export interface LineReader {
  /** Called once with the names of columns or fields that are not used. */
  readonly onIgnored: (names: readonly string[]) => void;
}

type Lines = AsyncIterable<readonly NumberedLine[]>;

const COLUMNS = ["user", "key", "source"] as const;
type Column = (typeof COLUMNS)[number];
const HINT = "user,key,source   is the first line: the names of the columns, in any order; source may be missing";
const JSON_HINT = 'a line is {"user": "…", "key": "…"}, and "source" if you like';

/** CSV with a header. Throws USAGE if the header does not name `user` and `key`. */
export async function* csvLines(lines: Lines, { onIgnored }: LineReader): AsyncGenerator<readonly ImportLine[]> {
  let header: Header | undefined;
  for await (const records of csvRecords(lines)) {
    const [first, ...others] = records;
    if (first === undefined) continue;
    if (header !== undefined) yield records.map(entryOf(header));
    else {
      header = headerOf(first);
      if (header.ignored.length > 0) onIgnored(header.ignored);
      yield others.map(entryOf(header));
    }
  }
}

interface Header {
  readonly places: Readonly<Record<Column, number>>;
  readonly ignored: readonly string[];
  readonly count: number;
}

function headerOf({ fields, fault }: CsvRecord): Header {
  if (fields === null) throw badHeader(`the first line ${fault}`);
  const names = fields.map((name) => name.trim().toLowerCase());
  const missing = COLUMNS.filter((name) => name !== "source" && !names.includes(name));
  const twice = COLUMNS.find((name) => names.indexOf(name) !== names.lastIndexOf(name));
  if (fields.some(holdsKey)) throw badHeader("the first line holds a key, and not the names of columns");
  if (missing.length > 0) throw badHeader(otherSeparator(fields) ?? namesNo(missing, fields));
  if (twice !== undefined) throw badHeader(`two columns are named ${twice}`);
  const [user, key, source] = COLUMNS.map((name) => names.indexOf(name));
  const ignored = fields.filter((_, at) => !COLUMNS.some((name) => name === names[at]));
  return { places: { user: user ?? -1, key: key ?? -1, source: source ?? -1 }, ignored, count: fields.length };
}

function badHeader(problem: string): KeyctlError {
  return new KeyctlError("USAGE", problem, { hint: HINT });
}

function namesNo(missing: readonly string[], fields: readonly string[]): string {
  return `the first line names no column ${missing.join(" and no column ")}; it names ${shownNames(fields)}`;
}

const OTHER_SEPARATORS = [
  [";", "';'"],
  ["\t", "tabs"],
  ["|", "'|'"],
] as const;

/** What is wrong with a line whose fields are not separated by commas; undefined for another line. */
function otherSeparator(fields: readonly string[]): string | undefined {
  const [only = "", ...others] = fields;
  const found = others.length > 0 ? undefined : OTHER_SEPARATORS.find(([separator]) => only.includes(separator));
  return found === undefined ? undefined : `the fields are separated by ${found[1]}: a comma is wanted`;
}

const MAX_NAMES = 5;
const NAME = /^[\p{L}\p{N}_ .-]{1,32}$/u;
/** A part of a key looks like this, and no name does. */
const SECRET_PART = /[0-9a-f]{12}/i;

/** The names of columns or fields, as far as none of them may be a part of a secret. */
export function shownNames(names: readonly string[]): string {
  const shown = names.filter(isSafeName).slice(0, MAX_NAMES);
  const more = names.length - shown.length;
  const rest = more === 0 ? [] : [shown.length === 0 ? counted(more, "other name") : `${formatNumber(more)} more`];
  return [...shown.map((name) => printable(name.trim())), ...rest].join(", ");
}

function isSafeName(name: string): boolean {
  return NAME.test(name) && !holdsKey(name) && !SECRET_PART.test(name);
}

function entryOf({ places, count }: Header): (record: CsvRecord) => ImportLine {
  return ({ number, fields, fault, hasEnd }) => {
    if (fields === null) return faulty(number, fault, HINT);
    if (fields.length !== count) return faulty(number, wrongCount(fields, count), HINT);
    const [userId = "", key = "", source = ""] = [fields[places.user], fields[places.key], fields[places.source]];
    if (!hasEnd && ApiKey.parse(key)?.hasUsualShape === false) return faulty(number, CUT_OFF, CUT_HINT);
    return { number, entry: { userId, key, source: source === "" ? undefined : source }, error: null };
  };
}

const CUT_OFF = "has no line end, and its key is not whole or unusual: the file may be cut off";
const CUT_HINT = "get the whole file; if it is whole, add a line end";

function wrongCount(fields: readonly string[], count: number): string {
  const separator = otherSeparator(fields);
  return separator === undefined
    ? `has ${counted(fields.length, "field")}, and the header ${formatNumber(count)}`
    : `is not separated as the header is: ${separator}`;
}

/** One JSON object a line. */
export async function* jsonLines(lines: Lines, { onIgnored }: LineReader): AsyncGenerator<readonly ImportLine[]> {
  const ignored = new Set<string>();
  let isSaid = false;
  for await (const batch of lines) {
    const filled = batch.filter(({ text }) => text.trim() !== "");
    yield filled.map((line) => jsonLine(line, ignored));
    if (ignored.size === 0 || isSaid) continue;
    onIgnored([...ignored]);
    isSaid = true;
  }
}

function jsonLine({ number, text }: NumberedLine, ignored: Set<string>): ImportLine {
  if (text.length > MAX_RECORD_LENGTH) return faulty(number, TOO_LONG, JSON_HINT);
  const value = parsedJson(text);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return faulty(number, "is no JSON object", JSON_HINT);
  }
  const { user, key, source = null, ...others } = value as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(others)) if (ignored.size < COLUMNS.length * 2) ignored.add(name);
  const isUsable = typeof user === "string" && typeof key === "string";
  if (!isUsable) return faulty(number, "has no texts user and key", JSON_HINT);
  if (source !== null && typeof source !== "string") return faulty(number, "has a source that is no text", JSON_HINT);
  return {
    number,
    entry: { userId: user, key, source: source === null || source === "" ? undefined : source },
    error: null,
  };
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Its message would repeat the line.
    return undefined;
  }
}

function faulty(number: number, fault: string, hint: string): ImportLine {
  return { number, entry: null, error: new KeyctlError("USAGE", `the line ${fault}`, { hint }) };
}
