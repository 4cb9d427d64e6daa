import { damaged, indexMisses } from "./errors.ts";
import type { Row } from "./statements.ts";
import { fieldsIn } from "../format/values.ts";
import type { Fields } from "../format/values.ts";

/**
 * The values of a row, in the types that the schema's STRICT columns and keyctl's own writes guarantee. A damaged page
 * may hold anything that SQLite still accepts as a row: each of these functions throws STORE_CORRUPT for it.
 */

export function textOf(row: Row, column: string, path: string): string {
  const value = row[column];
  return typeof value === "string" ? value : unfit(column, path);
}

export function textOrNullOf(row: Row, column: string, path: string): string | null {
  return row[column] === null ? null : textOf(row, column, path);
}

/** A whole number that is not negative. */
export function countOf(row: Row, column: string, path: string): number {
  const value = row[column];
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : unfit(column, path);
}

export function countOrNullOf(row: Row, column: string, path: string): number | null {
  return row[column] === null ? null : countOf(row, column, path);
}

export function numberOrNullOf(row: Row, column: string, path: string): number | null {
  const value = row[column];
  return value === null || typeof value === "number" ? value : unfit(column, path);
}

/** The JSON object in a column, or null. */
export function fieldsOrNullOf(row: Row, column: string, path: string): Fields | null {
  const json = textOrNullOf(row, column, path);
  return json === null ? null : (fieldsIn(parsedJson(json)) ?? unfit(column, path));
}

/** The JSON array of texts in a column, or null. */
export function textsOrNullOf(row: Row, column: string, path: string): readonly (string | null)[] | null {
  const json = textOrNullOf(row, column, path);
  if (json === null) return null;
  const values: unknown = parsedJson(json);
  return Array.isArray(values) && values.every(isTextOrNull) ? values : unfit(column, path);
}

/** The start of the next page. Throws STORE_CORRUPT for an index that is out of order: its scan would never end. */
export function nextAfter(after: string, page: readonly Row[], column: string, path: string): string {
  const last = textOf(page.at(-1) ?? {}, column, path);
  // SQLite compares text by its bytes.
  if (Buffer.compare(Buffer.from(last), Buffer.from(after)) > 0) return last;
  throw indexMisses(path);
}

/** Undefined for a text that is no JSON. */
export function parsedJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

function isTextOrNull(value: unknown): value is string | null {
  return value === null || typeof value === "string";
}

function unfit(column: string, path: string): never {
  throw damaged(path, `the column ${column} of a row holds what keyctl does not write`);
}
