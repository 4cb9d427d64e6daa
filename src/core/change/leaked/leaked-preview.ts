import { anySignal, deadlineIn } from "../../async/deadline.ts";
import type { Context } from "../../context.ts";
import { KeyctlError } from "../../model/errors.ts";
import { assertWhole, nothingKnown } from "../../model/leaked-results.ts";
import type { LeakedAction, LeakedKey, LeakedResult } from "../../model/leaked-results.ts";
import { keyIn } from "../../model/tombstone.ts";
import { managementKeyMissing } from "../../model/management-key.ts";
import { RUN_AGAIN } from "../../protocol/creation-refusals.ts";
import { foreseen } from "../../protocol/preview-store.ts";
import { withTrueGeneration } from "../../protocol/settle-row.ts";
import { withRemedy } from "../../ports/openrouter.ts";
import { assertDead, leakedKeyCheck, managementKeyLeaked } from "./leaked-check.ts";
import type { LeakedTask } from "./leaked-key.ts";
import { describeOwner, ownerOf, usersWithoutKey } from "./leaked-owner.ts";
import type { LeakedOwner } from "./leaked-owner.ts";
import { placesWith } from "./leaked-places.ts";
import { usageOf } from "./leaked-usage.ts";

const READING_MS = 20_000;

/** What `containLeaked` would do; it asks OpenRouter about the key and changes nothing. Throws every expected failure. */
export async function previewLeaked(
  leak: LeakedKey,
  { since }: LeakedTask,
  context: Context,
  signal: AbortSignal,
): Promise<LeakedResult> {
  if (context.managementKeyHashes().has(leak.hash)) throw managementKeyLeaked();
  const managementKey = context.managementKey();
  if (managementKey === undefined) throw managementKeyMissing("no key can be disabled");
  const openRouter = await context.openRouter.open();
  const keys = openRouter.withManagementKey(managementKey);
  const { store } = foreseen(context);
  const find = async (user: LeakedOwner["userId"]) => {
    const row = keyIn(await store.find(user, signal));
    return row && withTrueGeneration(row, context, signal);
  };
  const owner = await ownerOf(leak.hash, find, context, () => signal);
  const upstreamId = owner?.upstreamId ?? leak.hash;
  const found = await keys.find(upstreamId, deadlineIn(READING_MS, anySignal(signal)));
  if (found.status === "unknown") {
    const message = `whether the key is in this account is not known: OpenRouter ${found.detail}`;
    throw new KeyctlError("PROVIDER_UNAVAILABLE", message, withRemedy(found.remedy, RUN_AGAIN));
  }
  const said = describeOwner(owner, leak.hash);
  const action = found.status === "gone" ? withoutEntry(said.action) : said.action;
  if (action === "none") {
    const row = owner?.kind === "current" ? owner.row : null;
    const check = await leakedKeyCheck(leak, row, context, signal);
    // keyctl created an earlier key in this account, where it is gone.
    const isProven = owner?.kind === "earlier" && check === null;
    if (!isProven) await assertDead(check, deadlineIn(READING_MS, anySignal(signal)));
    if (owner === null) assertWhole(leak);
  }
  const now = openRouter.serverTime() ?? context.clock.now().getTime();
  const isReadable = found.status === "found" || owner !== null;
  const usage = isReadable ? await usageOf(upstreamId, { since, now }, keys, signal) : { warnings: [] };
  const warnings = [
    ...usersWithoutKey(owner, leak.hash, "then"),
    ...(await placesWith(leak, context)),
    ...usage.warnings,
  ];
  return { ...nothingKnown(leak.hash), ...usage, ...said, action, warnings };
}

/** What OpenRouter does not have (any more) is neither disabled nor deleted; a user whose key is gone gets a new one. */
function withoutEntry(action: LeakedAction): LeakedAction {
  return action === "rotate" ? action : "none";
}
