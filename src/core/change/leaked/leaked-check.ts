import type { Deadline } from "../../async/deadline.ts";
import type { Context } from "../../context.ts";
import { KeyctlError } from "../../model/errors.ts";
import type { KeyRecord } from "../../model/key-record.ts";
import type { LeakedKey } from "../../model/leaked-results.ts";
import type { Deletion } from "../../protocol/confirm-deletion.ts";
import { RUN_AGAIN } from "../../protocol/creation-refusals.ts";
import { withRemedy } from "../../ports/openrouter.ts";
import { keyCheckOf } from "../revoke-key.ts";

const MANAGEMENT_KEYS = "https://openrouter.ai/settings/management-keys";

type KeyCheckOnUse = NonNullable<Deletion["checkKey"]>;

/** How the key itself is asked whether it works; null if its text was neither given nor can be read from this row. */
export async function leakedKeyCheck(
  { key }: LeakedKey,
  row: KeyRecord | null,
  context: Context,
  signal: AbortSignal,
): Promise<KeyCheckOnUse | null> {
  if (key === null) return row === null ? null : keyCheckOf(row, context, signal);
  const openRouter = await context.openRouter.open();
  return (deadline) => openRouter.checkKey(key, deadline);
}

/**
 * For a key that is not in the account of the management key. Throws ATTENTION unless OpenRouter refuses it, and
 * VERDICT_UNKNOWN if OpenRouter does not say.
 */
export async function assertDead(check: KeyCheckOnUse | null, deadline: Deadline): Promise<void> {
  if (check === null) {
    throw new KeyctlError(
      "ATTENTION",
      "the key is not in the account of the management key, and its hash alone does not tell whether it works",
      { hint: "keyctl leaked --stdin   asks OpenRouter about the key itself" },
    );
  }
  // OpenRouter is known to refuse a working key now and then: one refusal is not enough.
  for (let refusals = 0; refusals < 2; refusals += 1) {
    const answer = await check(deadline);
    if (answer.status === "unknown") {
      const message = `whether the key works is not known: OpenRouter ${answer.detail}`;
      throw new KeyctlError("VERDICT_UNKNOWN", message, withRemedy(answer.remedy, RUN_AGAIN));
    }
    if (answer.status === "accepted") throw answer.isManagementKey ? alive("management") : alive("user");
  }
}

function alive(kind: "management" | "user"): KeyctlError {
  if (kind === "management") {
    return new KeyctlError("ATTENTION", "the key works: it is a management key, which creates and deletes keys", {
      hint: `delete it at ${MANAGEMENT_KEYS}`,
    });
  }
  return new KeyctlError("ATTENTION", "the key works, and is not in the account of the management key", {
    hint: "delete it at https://openrouter.ai/keys in its own account, or run the same command with a management key of that account",
  });
}

export function managementKeyLeaked(): KeyctlError {
  return new KeyctlError("MANAGEMENT_KEY_AS_USER_KEY", "this is keyctl's management key, which cannot disable itself", {
    hint: `create another one at ${MANAGEMENT_KEYS}, set OPENROUTER_PROVISIONING_KEY to it, and delete this one there`,
  });
}
