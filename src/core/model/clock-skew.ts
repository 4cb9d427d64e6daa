import type { KeyRecord, Timestamp } from "./key-record.ts";

/** How far the clocks of two machines may differ, in milliseconds. */
export const MAX_CLOCK_SKEW_MS = 300_000;

/**
 * Whether a time was written by a clock that was ahead. Such a time counts as never: a check that looks recent may be
 * old.
 * @param now in milliseconds since 1970
 */
export function isFromFuture(at: Timestamp, now: number): boolean {
  return Date.parse(at) > now + MAX_CLOCK_SKEW_MS;
}

/** The row without checks whose time is in the future; the row itself if there are none. */
export function withoutFutureChecks(row: KeyRecord, now: number): KeyRecord {
  const { lastCheck, lastValidated } = row;
  const losesCheck = lastCheck !== null && isFromFuture(lastCheck.at, now);
  const losesValidation = lastValidated !== null && isFromFuture(lastValidated, now);
  if (!losesCheck && !losesValidation) return row;
  return {
    ...row,
    lastCheck: losesCheck ? null : lastCheck,
    lastValidated: losesValidation ? null : lastValidated,
  };
}
