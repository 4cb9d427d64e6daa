import { deadlineIn } from "../../async/deadline.ts";
import type { Deadline } from "../../async/deadline.ts";
import type { Context } from "../../context.ts";
import type { ApiKey } from "../../model/api-key.ts";
import { KeyctlError } from "../../model/errors.ts";
import { createdAtMs } from "../../model/key-record.ts";
import type { KeyRecord } from "../../model/key-record.ts";
import { managementKeyMissing } from "../../model/management-key.ts";
import type { DeathCause } from "../../model/renew-results.ts";
import type { UserId } from "../../model/user-id.ts";
import type { Verdict } from "../../model/verdict.ts";
import { withRemedy } from "../../ports/openrouter.ts";
import { printable } from "../../text/printable.ts";
import { userFlag } from "../../text/shell-quote.ts";
import { decideVerdict } from "../../validate/decide-verdict.ts";
import { verdictSources } from "../../validate/validate-key.ts";
import { keyDisabled } from "../rotate/plan-rotation.ts";
import { upstreamIdOf } from "../revoke-key.ts";

/**
 * **Invariant:** a key is replaced only if OpenRouter refuses it twice and says, asked with the management key, that it is
 * deleted or has expired. Without that second witness nothing is known: a refusal may be a fault of the provider. A disabled
 * key may be that of somebody who has left, so it is replaced only on request.
 */

/** How long OpenRouter may take to confirm a refusal, in milliseconds: a new key is waited for first. */
const CONFIRMATION_MS = 60_000;

/**
 * Why the key is dead; `alive`: it works. Throws KEY_INVALID for a key that is not to be replaced, MANAGEMENT_KEY_MISSING if it is refused and
 * nobody can confirm that, and VERDICT_UNKNOWN.
 */
export async function confirmRefusal(
  row: KeyRecord,
  { key, includeDisabled }: { readonly key: ApiKey; readonly includeDisabled: boolean },
  context: Context,
  signal: AbortSignal,
): Promise<DeathCause | "alive"> {
  const { keys, ...sources } = await verdictSources(context);
  // OpenRouter's own id of the key may differ from its hash.
  const id = upstreamIdOf(row) ?? key.hash;
  const witness = keys && { ...keys, find: (_: string, deadline: Deadline) => keys.find(id, deadline) };
  const deadline = deadlineIn(CONFIRMATION_MS, signal);
  const verdict = await decideVerdict(key, { ...sources, keys: witness }, deadline, createdAtMs(row));
  if (verdict.status === "valid") return "alive";
  return causeOf(row.userId, verdict, includeDisabled);
}

function causeOf(user: UserId, verdict: Exclude<Verdict, { status: "valid" }>, includeDisabled: boolean): DeathCause {
  if (verdict.status === "unknown") {
    const { detail, remedy } = verdict;
    throw new KeyctlError("VERDICT_UNKNOWN", detail, withRemedy(remedy, renewAgain(user)));
  }
  const { reason } = verdict;
  if (reason === "deleted" || reason === "expired" || (reason === "disabled" && includeDisabled)) return reason;
  if (reason === "disabled") throw keyDisabled(user, "renew");
  if (reason === "refused") {
    throw managementKeyMissing(
      "OpenRouter refuses the key, and only a management key can confirm that it is dead; nothing was done",
    );
  }
  throw new KeyctlError("KEY_INVALID", `the key of user ${printable(user)} is a management key; nothing was done`, {
    hint: `keyctl save ${userFlag(user)} --replace`,
  });
}

/** With more time. */
function renewAgain(user: UserId): string {
  return `keyctl renew ${userFlag(user)} --timeout 2m`;
}

/** The time of a caller was over before the confirmation. */
export function notConfirmedInTime(user: UserId): KeyctlError {
  return new KeyctlError("VERDICT_UNKNOWN", "timed out before OpenRouter confirmed that the key is dead", {
    hint: renewAgain(user),
    retryable: true,
  });
}
