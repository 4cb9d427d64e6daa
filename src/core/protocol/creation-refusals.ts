import { KeyctlError } from "../model/errors.ts";
import { managementKeyRefused } from "../model/management-key.ts";
import { withRemedy } from "../ports/openrouter.ts";
import type { CreateResult } from "../ports/openrouter.ts";

export const RUN_AGAIN = "run the same command again";

/** What to check after a refusal with this status. */
const TO_CHECK: ReadonlyMap<number, string> = new Map([
  [402, "add credits at https://openrouter.ai/settings/credits"],
  [404, "check --workspace, KEYCTL_PROVISION_WORKSPACE and KEYCTL_OPENROUTER_URL"],
  [409, "https://openrouter.ai/keys   shows the keys of the account; then run the same command again"],
  [413, "check KEYCTL_OPENROUTER_URL, and the proxy if there is one"],
]);
const TERMS =
  "check what was asked for: --limit, --limit-reset, --expires-in and --workspace, or the KEYCTL_PROVISION_… variables";

type NoKey = Exclude<CreateResult, { readonly status: "created" | "ambiguous" }>;

/** The error of a creation that certainly created no key. */
export function creationFailed(creation: NoKey): KeyctlError {
  const { status, detail } = creation;
  if (status !== "refused") {
    const details = withRemedy(creation.remedy, RUN_AGAIN);
    return new KeyctlError("PROVIDER_UNAVAILABLE", `OpenRouter ${detail}`, details);
  }
  const { httpStatus } = creation;
  if (httpStatus === 401 || httpStatus === 403) return managementKeyRefused(detail);
  return new KeyctlError("PROVISION_REFUSED", `OpenRouter refused to create a key: it ${detail}`, {
    hint: TO_CHECK.get(httpStatus) ?? TERMS,
  });
}
