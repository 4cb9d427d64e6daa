import { FINISH } from "../../../core/model/duties.ts";
import type { Finding, FindingClass } from "../../../core/reconcile/finding.ts";
import { userFlag } from "../../../core/text/shell-quote.ts";

const BY_HAND = "delete it at https://openrouter.ai/keys if nobody uses it";

/** What mends a finding: a command with ` --user <id>` at its place, or what to do at OpenRouter. */
const REMEDIES: Readonly<Record<FindingClass, (user: string) => string | null>> = {
  kept: (user) => `keyctl reconcile${user} --include-kept --fix   deletes it`,
  orphan: (user) => `keyctl reconcile${user} --fix`,
  retiring: () => FINISH,
  limit_due: () => FINISH,
  purge_pending: (user) => `keyctl reconcile${user} --fix`,
  undecided: (user) => `keyctl reconcile${user}   in a minute`,
  unknown_nonce: () => BY_HAND,
  other_deployment: () => null,
  no_row: () => BY_HAND,
  dangling_row: (user) => `keyctl purge${user}   then the next sync creates another key`,
  other_account: (user) => `keyctl purge${user} --revoke   with a management key of the account before`,
  disabled: (user) => `keyctl purge${user}   or enable it at https://openrouter.ai/keys`,
  expired: (user) => `keyctl purge${user}   then the next sync creates another key`,
  expiry_unknown: (user) => `keyctl validate${user}`,
  duplicate: (user) => `keyctl save${user} --replace   stores another key`,
};

/** Null if there is nothing to do. */
export function remedyOf({ class: kind, userId }: Finding): string | null {
  return REMEDIES[kind](userId === null ? "" : ` ${userFlag(userId)}`);
}
