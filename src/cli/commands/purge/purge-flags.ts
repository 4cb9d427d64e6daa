import type { DryRunFlags } from "../../bulk/dry-run.ts";
import type { BulkFlags } from "../../bulk/user-command.ts";

export interface PurgeFlags extends BulkFlags, DryRunFlags {
  readonly yes?: true;
  readonly revoke?: true;
  readonly revokeForeign?: true;
  readonly confirm?: number;
}

export function revocationWanted({ revoke, revokeForeign }: PurgeFlags): "no" | "ours" | "foreign too" {
  if (revokeForeign === true) return "foreign too";
  return revoke === true ? "ours" : "no";
}
