import { rfc3339In, UNKNOWN_EXPIRY } from "../../core/model/expiry.ts";
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

/** When a key ends; what cannot be read stays as text, so that it is not taken for never. */
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

/** Nothing for what is missing, and for what is neither null nor can be read. */
function said<Name extends string, Value>(
  name: Name,
  value: unknown,
  read: (value: unknown) => Value | null,
): Partial<Record<Name, Value | null>> {
  if (value === undefined) return {};
  const known = read(value);
  // One field, under the name that was given.
  return value === null || known !== null ? ({ [name]: known } as Record<Name, Value | null>) : {};
}
