import { KeyctlError } from "./errors.ts";
import { printable } from "./printable.ts";
import { userFlag } from "./shell-quote.ts";
import type { UserId } from "./user-id.ts";

/** Somebody makes a key, and the caller has stopped waiting for it. */
export function provisionPending(user: UserId): KeyctlError {
  return new KeyctlError("PROVISION_PENDING", `a key for user ${printable(user)} is being made`, {
    hint: `keyctl get ${userFlag(user)}   waits for it`,
    retryable: true,
  });
}
