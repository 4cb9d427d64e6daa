import type { Document } from "mongodb";
import { rfc3339In } from "../../core/model/expiry.ts";
import type { LastCheck } from "../../core/model/key-record.ts";
import { fieldsOfCheck } from "../format/values.ts";
import type { Fields } from "../format/values.ts";

/** The fields that hold a time; the database keeps it as a date. */
const TIMES: ReadonlySet<string> = new Set([
  "at",
  "created_at",
  "expires_at",
  "last_renewal_at",
  "last_used_at",
  "last_validated",
  "retire_at",
]);

/** The fields with their times as dates, at every depth. A text that is no RFC 3339 time stays text. */
export function withDates(fields: Fields): Document {
  const inBson = (name: string, value: unknown): unknown => {
    if (TIMES.has(name) && typeof value === "string") return rfc3339In(value) === null ? value : new Date(value);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? withDates(value as Fields) : value;
  };
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, inBson(name, value)]));
}

export function checkOf(check: LastCheck): Document {
  return withDates(fieldsOfCheck(check));
}
