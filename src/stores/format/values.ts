import type { LastCheck, LimitReset, Timestamp } from "../../core/model/key-record.ts";

/** As Python's `utcnow().isoformat()` writes it, in UTC; JavaScript would take it for the time of this machine. */
const WITHOUT_ZONE = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?$/;

/**
 * The values of a record as a store has them, in the names of the database. Other programs write there too: what is of
 * another type is no value, and a time may be a date or its text.
 */
export type Fields = Readonly<Record<string, unknown>>;

const LIMIT_RESETS: readonly string[] = ["daily", "weekly", "monthly"] satisfies readonly LimitReset[];

export function fieldsIn(value: unknown): Fields | null {
  return typeof value === "object" && value !== null ? (value as Fields) : null;
}

export function textIn(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

/** A whole number that is not negative, in whatever numeric type it was written. */
export function countIn(value: unknown): number | null {
  const number = amountIn(value);
  return Number.isSafeInteger(number) && number !== null && number >= 0 ? number : null;
}

/** A number that is not infinite, in whatever numeric type it was written. */
export function amountIn(value: unknown): number | null {
  const number = typeof value === "object" && value !== null ? Number(value) : value;
  return typeof number === "number" && Number.isFinite(number) ? number : null;
}

export function timestampIn(value: unknown): Timestamp | null {
  const date = typeof value === "string" ? new Date(WITHOUT_ZONE.test(value) ? `${value}Z` : value) : value;
  return date instanceof Date && !Number.isNaN(date.getTime()) ? date.toISOString() : null;
}

export function limitResetIn(value: unknown): LimitReset | null {
  return typeof value === "string" && LIMIT_RESETS.includes(value) ? (value as LimitReset) : null;
}

export function lastCheckIn(value: unknown): LastCheck | null {
  const { at, verdict, reason } = { ...fieldsIn(value) };
  const time = timestampIn(at);
  if (time === null || (verdict !== "valid" && verdict !== "invalid")) return null;
  return { at: time, verdict, reason: textIn(reason) };
}
