import { KeyctlError } from "./errors.ts";
import type { Timestamp } from "./key-record.ts";
import type { Duty, DutyCounts } from "./rotate-results.ts";
import { counted, plural } from "../text/format.ts";

/** What rotations have left to do, in words. */

export const FINISH = "keyctl rotate --finish";
export const NO_DUTIES: DutyCounts = { retire: 0, overdueRetirements: 0, limits: 0, overdueLimits: 0 };

/** What is due for longer than this is overdue. */
const OVERDUE_MS = 3_600_000;

/** @param now in milliseconds since 1970 */
export function withDuty(counts: DutyCounts, kind: Duty["kind"], dueAt: Timestamp, now: number): DutyCounts {
  const overdue = now - Date.parse(dueAt) > OVERDUE_MS ? 1 : 0;
  const { retire, overdueRetirements, limits, overdueLimits } = counts;
  return kind === "retire"
    ? { ...counts, retire: retire + 1, overdueRetirements: overdueRetirements + overdue }
    : { ...counts, limits: limits + 1, overdueLimits: overdueLimits + overdue };
}

/** `2 old keys are due for removal, 1 limit is due to be restored`; undefined if nothing is due. */
export function describeDuties({ retire, limits }: DutyCounts): string | undefined {
  const parts = [
    ...(retire > 0 ? [`${counted(retire, "old key")} ${plural(retire, "is", "are")} due for removal`] : []),
    ...(limits > 0 ? [`${counted(limits, "limit")} ${plural(limits, "is", "are")} due to be restored`] : []),
  ];
  return parts.length === 0 ? undefined : parts.join(", ");
}

/** For what is due for more than an hour. */
export function overdueError({ overdueRetirements, overdueLimits }: DutyCounts): KeyctlError | null {
  if (overdueRetirements > 0) {
    const keys = counted(overdueRetirements, "old key");
    const message = `${keys} ${plural(overdueRetirements, "has", "have")} been due for removal for more than an hour`;
    return new KeyctlError("RETIREMENT_OVERDUE", message, { hint: FINISH });
  }
  if (overdueLimits === 0) return null;
  const limits = counted(overdueLimits, "limit");
  const message = `${limits} ${plural(overdueLimits, "has", "have")} been due to be restored for more than an hour`;
  return new KeyctlError("LIMIT_RESTORE_OVERDUE", message, { hint: FINISH });
}
