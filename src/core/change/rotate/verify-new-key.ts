import type { ApiKey } from "../../model/api-key.ts";
import { KeyctlError } from "../../model/errors.ts";
import type { UserId } from "../../model/user-id.ts";
import { deadlineIn, isTimeout } from "../../async/deadline.ts";
import { sleep } from "../../async/sleep.ts";
import type { Context } from "../../context.ts";
import { printable } from "../../text/printable.ts";

/** How long a new key may be refused, in milliseconds. */
const VERIFICATION_MS = 30_000;
const WAIT = { firstMs: 250, mostMs: 2_000 } as const;

/** Asks with the new key until it is accepted. Throws NEW_KEY_REFUSED, or the reason of the signal. */
export async function verifyNewKey(
  user: UserId,
  key: ApiKey,
  { openRouter }: Pick<Context, "openRouter">,
  signal: AbortSignal,
): Promise<void> {
  const asked = await openRouter.open();
  const deadline = deadlineIn(VERIFICATION_MS, signal);
  for (let waitMs: number = WAIT.firstMs; ; waitMs = Math.min(WAIT.mostMs, waitMs * 2)) {
    const check = await asked.checkKey(key, deadline);
    if (check.status === "accepted") return;
    if (signal.aborted && !isTimeout(signal.reason)) throw signal.reason;
    if (deadline.remainingMs() <= waitMs || signal.aborted) throw newKeyRefused(user, `OpenRouter ${check.detail}`);
    await sleep(waitMs);
  }
}

/** @param why a sentence about the new key */
export function newKeyRefused(user: UserId, why: string): KeyctlError {
  const message = `the new key of user ${printable(user)} was not accepted, and the old one is untouched: ${why}`;
  return new KeyctlError("NEW_KEY_REFUSED", message, {
    hint: "run the same command again later; keyctl doctor   checks OpenRouter and the management key",
    retryable: true,
  });
}
