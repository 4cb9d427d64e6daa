import { describeDuties, FINISH, overdueError } from "../../model/duties.ts";
import type { DutyCounts } from "../../model/rotate-results.ts";
import { attention, pass } from "./check-result.ts";
import type { CheckVerdict } from "./check-result.ts";

/** Empty if rotations have left nothing that is due. */
export function rotationVerdicts(counts: DutyCounts): readonly CheckVerdict[] {
  const due = describeDuties(counts);
  if (due === undefined) return [];
  const overdue = overdueError(counts);
  return [overdue === null ? pass(`${due}; ${FINISH}   does it`) : attention(overdue.message, FINISH)];
}
