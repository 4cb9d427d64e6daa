import type { Context } from "../../context.ts";
import type { RenewPreview } from "../../model/renew-results.ts";
import type { UserId } from "../../model/user-id.ts";
import { findKey } from "../../protocol/find-key.ts";
import { foreseen } from "../../protocol/preview-store.ts";
import { openForUse } from "../../sealing/open-row.ts";
import { confirmRefusal } from "./confirm-refusal.ts";
import { nothingToRenew } from "./renew-key.ts";
import { formerKey } from "../revoke-key.ts";

/** What a renewal of the stored key would do; it asks OpenRouter about the key and changes nothing. */
export async function previewRenewal(
  user: UserId,
  includeDisabled: boolean,
  context: Context,
  signal: AbortSignal,
): Promise<RenewPreview> {
  const row = await findKey(foreseen(context).store, user, signal);
  if (row === undefined) throw nothingToRenew(user);
  const key = await openForUse(row, context, signal);
  const found = await confirmRefusal(row, { key, includeDisabled }, context, signal);
  const fate =
    found === "alive" ? ({ action: "none", reason: null } as const) : { action: "create" as const, reason: found };
  return { userId: user, ...fate, current: formerKey(row), warnings: [], error: null };
}
