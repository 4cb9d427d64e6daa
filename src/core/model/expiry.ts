import type { Timestamp } from "./key-record.ts";

/**
 * **Invariant:** an end that cannot be read is unknown, and never "never". It is kept as any text that is no RFC 3339 time
 * with its offset: a date alone or a time without an offset may be hours off.
 */

/** What stands in the place of an end that cannot be read, wherever it is shown. */
export const UNKNOWN_EXPIRY = "unknown";

const RFC_3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})$/i;

/** A time with `Z` or an offset, with or without parts of a second, in our own form; null for anything else. */
export function rfc3339In(value: unknown): Timestamp | null {
  if (typeof value !== "string" || !RFC_3339.test(value)) return null;
  const time = new Date(value);
  return Number.isNaN(time.getTime()) ? null : time.toISOString();
}

/** In milliseconds since 1970; infinite for never and where nothing is said, `unknown` for what cannot be read. */
export function expiryMs(expiresAt: string | null | undefined): number | "unknown" {
  if (expiresAt === null || expiresAt === undefined) return Number.POSITIVE_INFINITY;
  const time = RFC_3339.test(expiresAt) ? Date.parse(expiresAt) : Number.NaN;
  return Number.isNaN(time) ? "unknown" : time;
}

/** That time has come; an end that is not known has not. */
export function isOver(expiresAt: string | null | undefined, now: number): boolean {
  const end = expiryMs(expiresAt);
  return end !== "unknown" && end <= now;
}

/** For a document or a screen: nothing of a text that cannot be read. */
export function publicExpiry(expiresAt: string | null | undefined): string | null {
  return expiryMs(expiresAt) === "unknown" ? UNKNOWN_EXPIRY : (expiresAt ?? null);
}
