import type { Timestamp } from "./key-record.ts";

/**
 * **Invariant:** an expiry that cannot be read is unknown, never "never". It is kept as a text that is not an RFC 3339
 * time with its offset: a date alone or a time without an offset may be hours off.
 */

/** Shown instead of an expiry that cannot be read. */
export const UNKNOWN_EXPIRY = "unknown";

const RFC_3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})$/i;

/**
 * A time with `Z` or an offset, with or without fractions of a second, in keyctl's own form; null for any other value.
 */
export function rfc3339In(value: unknown): Timestamp | null {
  if (typeof value !== "string" || !RFC_3339.test(value)) return null;
  const time = new Date(value);
  return Number.isNaN(time.getTime()) ? null : time.toISOString();
}

/** In milliseconds since 1970. Infinite: never, or not stated. `unknown`: cannot be read. */
export function expiryMs(expiresAt: string | null | undefined): number | "unknown" {
  if (expiresAt === null || expiresAt === undefined) return Number.POSITIVE_INFINITY;
  const time = RFC_3339.test(expiresAt) ? Date.parse(expiresAt) : Number.NaN;
  return Number.isNaN(time) ? "unknown" : time;
}

/** Whether the expiry has passed. False for an expiry that cannot be read. */
export function isOver(expiresAt: string | null | undefined, now: number): boolean {
  const end = expiryMs(expiresAt);
  return end !== "unknown" && end <= now;
}

/** The expiry for a document or a screen: shows nothing of a text that cannot be read. */
export function publicExpiry(expiresAt: string | null | undefined): string | null {
  return expiryMs(expiresAt) === "unknown" ? UNKNOWN_EXPIRY : (expiresAt ?? null);
}
