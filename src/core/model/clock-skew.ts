import type { KeyRecord, Timestamp } from "./key-record.ts";

/** How far the clocks of two machines may differ, in milliseconds. */
export const MAX_CLOCK_SKEW_MS = 300_000;

/**
 * Whether a time was written by a clock that had jumped ahead. It counts as never: what it says to be recent may be old.
 * @param now in milliseconds since 1970
 */
export function isFromFuture(at: Timestamp, now: number): boolean {
  return Date.parse(at) > now + MAX_CLOCK_SKEW_MS;
}

/** The row as if it was never checked, where its checks are from the future; else the row itself. */
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
