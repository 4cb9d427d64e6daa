import { findKey } from "../../protocol/find-key.ts";
import type { Context } from "../../context.ts";
import { KeyctlError } from "../../model/errors.ts";
import type { KeyRecord } from "../../model/key-record.ts";
import type { RotatePreview, RotateResult, RotateTask } from "../../model/rotate-results.ts";
import type { UserId } from "../../model/user-id.ts";
import { foreseen } from "../../protocol/preview-store.ts";
import { retryOnConflict } from "../../protocol/contention.ts";
import { createKey, settleLastOperation } from "../../protocol/create-key.ts";
import { requireOwnAccount } from "../../protocol/management-access.ts";
import { isLimitDue, restoreLimit } from "../../protocol/restore-limit.ts";
import { confirmGeneration, revokePredecessor, withTrueGeneration } from "../../protocol/settle-row.ts";
import { importSpooled } from "../../protocol/spool-gate.ts";
import { printable } from "../../text/printable.ts";
import { userFlag } from "../../text/shell-quote.ts";
import { completeRotation } from "./complete-rotation.ts";
import { foreignKey, planRotation } from "./plan-rotation.ts";
import type { RotationAccess } from "./plan-rotation.ts";
import { changedMeanwhile, formerKey, holdSameKey } from "../revoke-key.ts";

/**
 * **Order:** (1) settle the row, read the old key upstream, decide the terms; (2) RECORD OPERATION and CREATE KEY; (3) verify the
 * new key and attach what was attached to the old one; (4) STORE ROW by compare-and-set; (5) RECORD OUTCOME, which commits;
 * (6) REVOKE PREDECESSOR, and without a grace DELETE UPSTREAM; (7) SETTLE. Whatever fails before (5) leaves the old key
 * untouched: the new one is abandoned and removed, and nobody ever had it.
 */

const NO_KEY_CAN_BE_ROTATED = "no key can be rotated";

export interface RotateRun extends RotateTask {
  /** The key to be rotated: CONFLICT for any other one. Missing: whichever is read first. */
  readonly only?: KeyRecord;
  /** Receives the row that was replaced. */
  readonly onReplaced: (row: KeyRecord) => void;
}

/** Throws every expected failure before the new key is in use. */
export async function rotateKey(
  user: UserId,
  task: RotateRun,
  context: Context,
  signal: AbortSignal,
): Promise<RotateResult> {
  await importSpooled(user, context, signal);
  let access: RotationAccess | undefined;
  let first = task.only;
  return retryOnConflict(user, async (tries) => {
    const found = await findKey(context.store, user, signal);
    if (found === undefined) throw nothingToRotate(user);
    access ??= await openAccess(context, signal);
    const row = await currentRow(found, access, signal);
    if (row === "conflict") return "conflict";
    first ??= row;
    // Somebody else has replaced the key that was to be rotated: its successor is not rotated as well.
    if (!holdSameKey(row, first)) throw changedMeanwhile(user);
    const plan = await planRotation(row, { ...access, task, isRenewal: false }, signal);
    const { terms, includeByokInLimit } = plan.newTerms;
    const creation = { mayMake: true, isAuto: false, terms, includeByokInLimit, tries, onStage: () => {} };
    const call = { user, task: creation, context, signal };
    const last = await settleLastOperation(call, async () => undefined);
    if (typeof last === "string" || "row" in last) return "conflict";
    // While another command's operation was under way, it may have been a rotation.
    const now = await findKey(context.store, user, signal);
    if (now === undefined || !holdSameKey(now, row)) return "conflict";
    const created = await createKey(last.n + 1, call);
    if (typeof created === "string") return "conflict";
    const { result } = await completeRotation(created, plan, context, signal);
    task.onReplaced(row);
    return result;
  });
}

/** Only for a user with a row: a store that does not exist yet is not written to. */
async function openAccess(context: Context, signal: AbortSignal): Promise<RotationAccess> {
  const keys = await requireOwnAccount(context, NO_KEY_CAN_BE_ROTATED, signal);
  await context.store.requireAtomicChanges(signal);
  // A failure of the master keys comes before OpenRouter is asked about the key.
  await context.sealer("prepare", signal);
  return { context, keys };
}

/** RECORD OUTCOME and REVOKE PREDECESSOR of a row that is not settled; RESTORE LIMIT, if it is due. */
async function currentRow(
  found: KeyRecord,
  { context, keys }: RotationAccess,
  signal: AbortSignal,
): Promise<KeyRecord | "conflict"> {
  const { store, journal, clock } = context;
  if (!(await confirmGeneration(found, context, signal))) return "conflict";
  const row = await withTrueGeneration(found, context, signal);
  await revokePredecessor(row, context, signal);
  if (!isLimitDue(row, clock.now().getTime())) return row;
  await restoreLimit(row, { store, journal, keys }, signal);
  return "conflict";
}

function nothingToRotate(user: UserId): KeyctlError {
  return new KeyctlError("NO_KEY", `no key is stored for user ${printable(user)}, so none is rotated`, {
    hint: `keyctl sync ${userFlag(user)}`,
  });
}

/** What `rotateKey` would do; it asks OpenRouter about nothing and changes nothing. */
export async function previewRotation(
  user: UserId,
  { foreign }: RotateTask,
  context: Context,
  signal: AbortSignal,
): Promise<RotatePreview> {
  const { store } = foreseen(context);
  const found = await findKey(store, user, signal);
  if (found === undefined) throw nothingToRotate(user);
  const row = await withTrueGeneration(found, context, signal);
  if (row.generation === 0 && foreign === "refuse") throw foreignKey(user);
  return { userId: user, action: "rotate", current: formerKey(row), warnings: [], error: null };
}
