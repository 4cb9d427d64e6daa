import { deadlineIn } from "../../async/deadline.ts";
import type { Context } from "../../context.ts";
import { KeyctlError } from "../../model/errors.ts";
import type { ErrorDetails } from "../../model/errors.ts";
import { isOver } from "../../model/expiry.ts";
import type { KeyRecord, Restrictions } from "../../model/key-record.ts";
import type { CarriedRestrictions, RotateTask } from "../../model/rotate-results.ts";
import type { UserId } from "../../model/user-id.ts";
import type { Attached } from "../../ports/account.ts";
import { withRemedy } from "../../ports/openrouter.ts";
import type { UpstreamKey } from "../../ports/openrouter.ts";
import { RUN_AGAIN } from "../../protocol/creation-refusals.ts";
import type { AccountKeys } from "../../protocol/management-access.ts";
import { requestRetirements } from "../../protocol/retained-keys.ts";
import type { RetainedKey } from "../../protocol/retained-keys.ts";
import { printable } from "../../text/printable.ts";
import { userFlag } from "../../text/shell-quote.ts";
import { newTermsOf } from "./new-terms.ts";
import type { NewTerms } from "./new-terms.ts";
import { changedMeanwhile, refuseShared, upstreamIdOf } from "../revoke-key.ts";

/** What a rotation has found out and decided before it creates a key. */
export interface RotationPlan {
  readonly row: KeyRecord;
  readonly keys: AccountKeys;
  readonly task: RotateTask;
  readonly newTerms: NewTerms;
  /** What the new key is attached to. */
  readonly restrictions: Restrictions;
  /** The same for the row, with what an earlier rotation knew and OpenRouter does not show any more. */
  readonly recorded: Restrictions | null;
  readonly carried: CarriedRestrictions;
  /** Keys in an earlier grace that this rotation ends. */
  readonly retired: readonly RetainedKey[];
  /** The old key was refused, and nobody can use it any more. */
  readonly isRenewal: boolean;
  /** What was left of the limit is not known, so the new key has the whole limit again. */
  readonly isLimitWhole: boolean;
}

const READING_MS = 20_000;

export interface RotationAccess {
  readonly context: Context;
  readonly keys: AccountKeys;
}

/** What a rotation is asked to do, or a renewal. */
export interface RotationOrder extends RotationAccess, Pick<RotationPlan, "isRenewal"> {
  readonly task: RotateTask;
}

/**
 * Asks OpenRouter about the old key, and decides what the new one is to be. A rotation without a grace ends earlier graces; a
 * renewal leaves those keys to their own time.
 */
export async function planRotation(
  row: KeyRecord,
  { task, context, keys, isRenewal }: RotationOrder,
  signal: AbortSignal,
): Promise<RotationPlan> {
  const { userId } = row;
  const oldId = upstreamIdOf(row);
  if (oldId === null) {
    throw new KeyctlError("ROW_UNREADABLE", `what is stored for user ${printable(userId)} is not a key`, {
      hint: `keyctl save ${userFlag(userId)} --replace`,
    });
  }
  if (row.generation === 0) await refuseForeign(row, task, context, signal);
  const upstream = await readOldKey(oldId, row, { task, context, keys, isRenewal }, signal);
  const attached = await attachedTo(oldId, { row, upstream, keys }, signal);
  const isGone = isRenewal && upstream === undefined;
  const newTerms = newTermsOf(row, upstream, {
    task: isGone ? { ...task, limit: "full" } : task,
    given: () => context.provisioning.terms({}),
    now: context.clock.now().getTime(),
  });
  // In each round: only the change of this row proves that no other key was replaced with a grace in the meantime.
  const retired =
    task.graceMs === 0 && !isRenewal ? await requestRetirements(userId, row.generation, context, signal) : [];
  const isLimitWhole = isGone && row.generation > 0 && newTerms.terms.limit !== null;
  return { row, keys, task, newTerms, ...attached, retired, isRenewal, isLimitWhole };
}

async function refuseForeign(
  row: KeyRecord,
  { foreign }: RotateTask,
  { store }: Context,
  signal: AbortSignal,
): Promise<void> {
  if (foreign === "revoke") return refuseShared(row, store, signal);
  if (foreign === "keep") return;
  throw foreignKey(row.userId);
}

export function foreignKey(user: UserId): KeyctlError {
  const message = `keyctl did not create the key of user ${printable(user)}; nothing was done`;
  return new KeyctlError("FOREIGN_KEY", message, {
    hint: `keyctl rotate ${userFlag(user)} --include-foreign   replaces it and leaves it active at OpenRouter`,
  });
}

/**
 * Undefined for a key that is deleted there. Throws KEY_INVALID for a disabled one, unless that is allowed, and CONFLICT if a
 * key that is to be renewed works again.
 */
async function readOldKey(
  oldId: string,
  { userId }: KeyRecord,
  { task, context, keys, isRenewal }: RotationOrder,
  signal: AbortSignal,
): Promise<UpstreamKey | undefined> {
  const found = await keys.find(oldId, deadlineIn(READING_MS, signal));
  if (found.status === "gone") return undefined;
  if (found.status === "unknown") throw unreadable(found.detail, withRemedy(found.remedy, RUN_AGAIN));
  const { disabled, expiresAt } = found.key;
  if (disabled && !task.includeDisabled) throw keyDisabled(userId, isRenewal ? "renew" : "rotate");
  if (!isRenewal || disabled) return found.key;
  const { openRouter, clock } = context;
  const now = (await openRouter.open()).serverTime() ?? clock.now().getTime();
  if (isOver(expiresAt, now)) return found.key;
  throw changedMeanwhile(userId);
}

export function keyDisabled(user: UserId, verb: "rotate" | "renew"): KeyctlError {
  const message = `the key of user ${printable(user)} is disabled at OpenRouter, maybe on purpose; nothing was done`;
  return new KeyctlError("KEY_INVALID", message, { hint: `keyctl ${verb} ${userFlag(user)} --include-disabled` });
}

/** What the new key is to be attached to. A deleted key shows nothing any more: its row knows. */
async function attachedTo(
  oldId: string,
  {
    row,
    upstream,
    keys,
  }: { readonly row: KeyRecord; readonly upstream: UpstreamKey | undefined; readonly keys: AccountKeys },
  signal: AbortSignal,
): Promise<Pick<RotationPlan, "restrictions" | "recorded" | "carried">> {
  const book = await keys.restrictions();
  const shown = await book.attachedTo(oldId, keys, deadlineIn(READING_MS, signal));
  if ("status" in shown)
    throw unreadable(`${shown.detail} when asked for guardrails`, withRemedy(shown.remedy, RUN_AGAIN));
  const known: Attached = upstream === undefined && row.restrictions !== null ? row.restrictions : shown;
  const guardrails = shown.guardrails === null ? null : known.guardrails;
  const byok = shown.byok === null ? null : known.byok;
  const guardrail = guardrails === null ? "unknown" : guardrails.length === 0 ? "none" : "carried";
  const isNothingKnown = guardrails === null && byok === null && row.restrictions === null;
  return {
    restrictions: { guardrails: guardrails ?? [], byok: byok ?? [] },
    recorded: isNothingKnown
      ? null
      : { guardrails: guardrails ?? row.restrictions?.guardrails ?? [], byok: byok ?? row.restrictions?.byok ?? [] },
    carried: { guardrail, allowLists: byok?.length ?? null },
  };
}

function unreadable(detail: string, details: Pick<ErrorDetails, "hint" | "retryable">): KeyctlError {
  return new KeyctlError("PROVIDER_UNAVAILABLE", `the key was not replaced: OpenRouter ${detail}`, details);
}
