import { isTimeout } from "../../async/deadline.ts";
import { sleep } from "../../async/sleep.ts";
import type { Context } from "../../context.ts";
import { isKeyctlError } from "../../model/errors.ts";
import type { KeyctlError } from "../../model/errors.ts";
import type { KeyRecord } from "../../model/key-record.ts";
import { rotateFailed } from "../../model/rotate-results.ts";
import type { RotatedPrevious, RotateResult } from "../../model/rotate-results.ts";
import { requireOwnAccount } from "../../protocol/management-access.ts";
import { removeOwed } from "../../protocol/remove-owed.ts";
import { appendEntry } from "../../protocol/write-journal.ts";
import { requireStillHeld } from "./complete-rotation.ts";
import { keyCheckOf, oldKeyPending, upstreamIdOf } from "../revoke-key.ts";

/** A timer waits for 24 days at most. */
const LONGEST_WAIT_MS = 86_400_000;
const STEP_MS = 60_000;

/**
 * Waits until the grace of this rotation is over, and removes the old key. The new key is handed out only then: the last look
 * comes after the wait.
 */
export async function waitForRetirement(
  result: RotateResult,
  replaced: KeyRecord,
  context: Context,
  signal: AbortSignal,
): Promise<RotateResult> {
  const { generation, keyHash } = result;
  const end = await afterGrace(result, replaced, context, signal);
  if (end === undefined || generation === null) return result;
  const { userId } = replaced;
  try {
    await requireStillHeld({ userId, generation, keyHash }, context);
    return end;
  } catch (thrown) {
    if (!isKeyctlError(thrown)) throw thrown;
    return rotateFailed(userId, thrown);
  }
}

/** Undefined if there is nothing to wait for. */
async function afterGrace(
  result: RotateResult,
  replaced: KeyRecord,
  context: Context,
  signal: AbortSignal,
): Promise<RotateResult | undefined> {
  const { previous } = result;
  if (previous === null || previous.revokeAt === null) return undefined;
  const ended = (end: Pick<RotatedPrevious, "revocation">, error: KeyctlError | null): RotateResult => ({
    ...result,
    previous: { ...previous, ...end },
    error,
  });
  try {
    await sleepUntil(Date.parse(previous.revokeAt), context, signal);
    await retire(replaced, context);
    return ended({ revocation: "done" }, null);
  } catch (thrown) {
    if (signal.aborted && thrown === signal.reason) return result;
    if (!isKeyctlError(thrown) && !isTimeout(thrown)) throw thrown;
    const detail = isKeyctlError(thrown) ? thrown.message : "the time was over";
    return ended({ revocation: "pending" }, oldKeyPending(replaced, detail));
  }
}

async function sleepUntil(time: number, { clock }: Pick<Context, "clock">, signal: AbortSignal): Promise<void> {
  for (;;) {
    const left = time - clock.now().getTime();
    if (left <= 0) return;
    await sleep(Math.min(left, LONGEST_WAIT_MS), signal);
  }
}

/** Throws REVOKE_PENDING unless the old key is gone there, and is refused when it is asked itself. */
async function retire(replaced: KeyRecord, context: Context): Promise<void> {
  const { userId: user, generation: n } = replaced;
  const upstreamId = upstreamIdOf(replaced);
  if (upstreamId === null) return;
  const keys = await requireOwnAccount(context, "the old key cannot be removed", newSignal());
  await appendEntry(user, { kind: "del", n }, context, newSignal());
  const checkKey = await keyCheckOf(replaced, context, newSignal());
  await removeOwed({ user, n, keyHash: replaced.keyHash, upstreamId, checkKey }, { ...context, keys, newSignal });
}

function newSignal(): AbortSignal {
  return AbortSignal.timeout(STEP_MS);
}
