import type { DryRunFlags } from "../../bulk/dry-run.ts";
import type { PurgePreview } from "../../../core/model/results.ts";
import type { BulkFlags } from "../../bulk/user-command.ts";
import type { ReasonFlags } from "../reason-option.ts";

export interface PurgeFlags extends BulkFlags, DryRunFlags, ReasonFlags {
  readonly yes?: true;
  readonly revoke?: true;
  readonly revokeForeign?: true;
  readonly block?: true;
  readonly confirm?: number;
}

export function revocationWanted({ revoke, revokeForeign }: PurgeFlags): "no" | "ours" | "foreign too" {
  if (revokeForeign === true) return "foreign too";
  return revoke === true ? "ours" : "no";
}

/** Whether the purge would block a user who is not blocked. */
export function blocksAnew({ error, wasBlocked }: PurgePreview, { block }: PurgeFlags): boolean {
  return block === true && error === null && !wasBlocked;
}
