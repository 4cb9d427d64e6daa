import type { NumberedLine } from "../../bulk/users-file.ts";

/**
 * The fields of one record, or what is wrong with it; repeats nothing of its text. A record that has line ends inside of
 * quotes has the number of its first line.
 */
export type CsvRecord =
  | { readonly number: number; readonly fields: readonly string[]; readonly fault: null }
  | { readonly number: number; readonly fields: null; readonly fault: string };

/** The maximum number of characters of a line, and of a record with line ends inside of quotes. */
export const LONGEST_RECORD = 16 * 1024;
export const TOO_LONG = "is longer than 16 KiB";

/**
 * The records of CSV as RFC 4180 describes it. **Invariant:** a fault costs one line. A quote that is not closed would take
 * the rest of the file into its field; the reading goes on at the line after it instead, so that only a record of its own
 * is lost.
 */
export async function* csvRecords(lines: AsyncIterable<readonly NumberedLine[]>): AsyncGenerator<readonly CsvRecord[]> {
  let waiting: NumberedLine[] = [];
  for await (const batch of lines) {
    const { records, rest } = recordsIn([...waiting, ...batch], false);
    waiting = rest;
    yield records;
  }
  yield recordsIn(waiting, true).records;
}

/** @param isLast no further lines follow; else the last record may be continued by them, and its lines are the rest */
function recordsIn(lines: NumberedLine[], isLast: boolean): { records: readonly CsvRecord[]; rest: NumberedLine[] } {
  const records: CsvRecord[] = [];
  for (let at = 0; at < lines.length;) {
    const found = recordAt(lines, at);
    if (found === "open" && !isLast) return { records, rest: lines.slice(at) };
    const { number } = lines[at] ?? { number: 0 };
    const isBroken = found === "open" || (found.fault !== null && found.count > 1);
    const record = isBroken
      ? { number, fields: null, fault: "has a quote that is not closed" }
      : recordOf(number, found);
    if (record !== undefined) records.push(record);
    at += isBroken ? 1 : found.count;
  }
  return { records, rest: [] };
}

interface Found {
  readonly fields: readonly string[];
  readonly fault: string | null;
  /** How many lines the record has. */
  readonly count: number;
}

/** Undefined for an empty line. */
function recordOf(number: number, { fields, fault }: Found): CsvRecord | undefined {
  if (fault !== null) return { number, fields: null, fault };
  return fields.length === 1 && fields[0]?.trim() === "" ? undefined : { number, fields, fault };
}

/** `open`: a quote is not closed in these lines. */
function recordAt(lines: readonly NumberedLine[], from: number): Found | "open" {
  let text = "";
  let quotes = 0;
  for (let at = from; at < lines.length; at += 1) {
    const line = lines[at]?.text ?? "";
    text = at === from ? line : `${text}\n${line}`;
    quotes += line.split('"').length - 1;
    const count = at - from + 1;
    if (line.length > LONGEST_RECORD) return { fields: [], fault: TOO_LONG, count };
    // Quotes inside of a quoted field are doubled.
    if (quotes % 2 === 0) return { ...fieldsIn(text), count };
    if (text.length > LONGEST_RECORD) return { fields: [], fault: "has a quote that is not closed", count };
  }
  return "open";
}

/** A quoted field, or one without quotes, and what follows it. */
const FIELD = /(?:"((?:[^"]|"")*)"|([^",]*))(,|$)/y;

function fieldsIn(text: string): Pick<Found, "fields" | "fault"> {
  const fields: string[] = [];
  for (let at = 0; ;) {
    FIELD.lastIndex = at;
    const match = FIELD.exec(text);
    if (match === null) return { fields, fault: "has a quote in the middle of a field" };
    const [all, quoted, plain = "", end] = match;
    fields.push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end === "") return { fields, fault: null };
    at += all.length;
  }
}
