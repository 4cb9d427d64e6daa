import type { UserId } from "../model/user-id.ts";
import { KeyctlError } from "../model/errors.ts";
import { printable } from "../text/printable.ts";

/** How often a lost race begins anew before it is called a conflict. */
export const MAX_CONFLICT_RETRIES = 5;

export function conflictError(user: UserId): KeyctlError {
  return new KeyctlError("CONFLICT", `the key of user ${printable(user)} keeps changing`, {
    hint: "another program is changing it; try again when it is done",
    retryable: true,
  });
}
