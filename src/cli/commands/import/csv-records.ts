import type { NumberedLine } from "../../bulk/users-file.ts";

/**
 * The fields of one record, or what is wrong with it; repeats nothing of its text. A record that has line ends inside of
 * quotes has the number of its first line.
 */
export type CsvRecord = {
  readonly number: number;
  /** False: the input ends without a line end, and may end in the middle of this record. */
  readonly hasEnd: boolean;
} & ({ readonly fields: readonly string[]; readonly fault: null } | { readonly fields: null; readonly fault: string });

/** The maximum number of characters of a line, and of a record with line ends inside of quotes. */
export const MAX_RECORD_LENGTH = 16 * 1024;
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
    if (lines[at]?.text.trim() === "") {
      at += 1;
      continue;
    }
    const found = recordAt(lines, at);
    if (found === "open" && !isLast) return { records, rest: lines.slice(at) };
    const isBroken = found === "open" || (found.fault !== null && found.count > 1);
    const { fields, fault, count } = isBroken ? NOT_CLOSED : found;
    const place = { number: lines[at]?.number ?? 0, hasEnd: lines[at + count - 1]?.hasEnd !== false };
    records.push(fault === null ? { ...place, fields, fault } : { ...place, fields: null, fault });
    at += count;
  }
  return { records, rest: [] };
}

interface Found {
  readonly fields: readonly string[];
  readonly fault: string | null;
  /** How many lines the record has. */
  readonly count: number;
}

const NOT_CLOSED: Found = { fields: [], fault: "has a quote that is not closed", count: 1 };

/** `open`: a quote is not closed in these lines. */
function recordAt(lines: readonly NumberedLine[], from: number): Found | "open" {
  let text = "";
  let quotes = 0;
  for (let at = from; at < lines.length; at += 1) {
    const line = lines[at]?.text ?? "";
    text = at === from ? line : `${text}\n${line}`;
    quotes += line.split('"').length - 1;
    const count = at - from + 1;
    if (line.length > MAX_RECORD_LENGTH) return { fields: [], fault: TOO_LONG, count };
    // Quotes inside of a quoted field are doubled.
    if (quotes % 2 === 0) return { ...fieldsIn(text), count };
    if (text.length > MAX_RECORD_LENGTH) return { fields: [], fault: "has a quote that is not closed", count };
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
    if (match === null) return { fields, fault: faultOfField(text.slice(at)) };
    const [all, quoted, plain = "", end] = match;
    fields.push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end === "") return { fields, fault: null };
    at += all.length;
  }
}

function faultOfField(rest: string): string {
  return /^\s+"/.test(rest) ? "has a blank between a comma and a quote" : "has a quote in the middle of a field";
}
