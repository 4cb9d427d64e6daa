import { rfc3339In, UNKNOWN_EXPIRY } from "../../core/model/expiry.ts";
import { withoutKeys } from "../../core/model/redact-keys.ts";
import type { LastCheck, LimitReset, Timestamp } from "../../core/model/key-record.ts";

/** A time in UTC as Python's `utcnow().isoformat()` writes it; JavaScript would read it as local time. */
const WITHOUT_ZONE = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?$/;

/**
 * The stored values of a record under the field names of the database. Other programs write there too: a value of
 * another type counts as missing, and a time may be a date or text.
 */
export type Fields = Readonly<Record<string, unknown>>;

const LIMIT_RESETS: readonly string[] = ["daily", "weekly", "monthly"] satisfies readonly LimitReset[];

export function fieldsIn(value: unknown): Fields | null {
  return typeof value === "object" && value !== null ? (value as Fields) : null;
}

export function textIn(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

/** A text for people. Other programs may write there too: what looks like a key is masked. */
export function wordsIn(value: unknown): string | null {
  const text = textIn(value);
  return text === null ? null : withoutKeys(text);
}

/** A whole number that is not negative, in any numeric type of the database. */
export function countIn(value: unknown): number | null {
  const number = amountIn(value);
  return Number.isSafeInteger(number) && number !== null && number >= 0 ? number : null;
}

/** A finite number, in any numeric type of the database. */
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

/** When a key expires; null for never. A value that cannot be parsed stays text or becomes UNKNOWN_EXPIRY. */
export function expiryIn(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (value instanceof Date) return timestampIn(value) ?? UNKNOWN_EXPIRY;
  return rfc3339In(value) ?? (typeof value === "string" && value !== "" ? value : UNKNOWN_EXPIRY);
}

export function fieldsOfCheck(check: LastCheck): Fields {
  const { at, verdict, reason, limit, limitRemaining, blockedBy, expiresAt, lastUsedAt } = check;
  return {
    at,
    verdict,
    reason,
    ...(limit === undefined ? {} : { limit }),
    ...(limitRemaining === undefined ? {} : { limit_remaining: limitRemaining }),
    ...(blockedBy === undefined ? {} : { blocked_by: blockedBy }),
    ...(expiresAt === undefined ? {} : { expires_at: expiresAt }),
    ...(lastUsedAt === undefined ? {} : { last_used_at: lastUsedAt }),
  };
}

export function lastCheckIn(value: unknown): LastCheck | null {
  const fields = fieldsIn(value);
  if (fields === null) return null;
  const { verdict } = fields;
  const at = timestampIn(fields["at"]);
  if (at === null || (verdict !== "valid" && verdict !== "invalid")) return null;
  return {
    at,
    verdict,
    reason: textIn(fields["reason"]),
    ...said("limit", fields["limit"], amountIn),
    ...said("limitRemaining", fields["limit_remaining"], amountIn),
    ...said("blockedBy", fields["blocked_by"], textIn),
    ...said("expiresAt", fields["expires_at"], expiryIn),
    ...said("lastUsedAt", fields["last_used_at"], timestampIn),
  };
}

/** One field; none if the value is missing or cannot be parsed. Null stays null. */
function said<Name extends string, Value>(
  name: Name,
  value: unknown,
  read: (value: unknown) => Value | null,
): Partial<Record<Name, Value | null>> {
  if (value === undefined) return {};
  const known = read(value);
  // The object has one field, under the given name.
  return value === null || known !== null ? ({ [name]: known } as Record<Name, Value | null>) : {};
}
