import { publicExpiry } from "../model/expiry.ts";
import { userFlag } from "../text/shell-quote.ts";
import { isUsedUp } from "../model/verdict.ts";
import type { Attention, KeyTerms } from "../model/verdict.ts";

/** What is to be said of a key that works and needs attention: of each reason its own words and its own remedy. */
interface AttentionText {
  /** Completes a sentence that begins with the key. */
  readonly says: (terms: KeyTerms) => string;
  /** `user` is ` --user <id>`. */
  readonly remedy: (user: string) => string;
}

const REPLACE = (user: string) => `keyctl save${user} --replace   stores another key`;
const RAISE = () => "raise its limit at https://openrouter.ai/keys";

const TEXTS: Readonly<Record<Attention, AttentionText>> = {
  EXPIRES_SOON: { says: ({ expiresAt }) => `expires on ${dayOf(expiresAt)}`, remedy: REPLACE },
  EXPIRED: {
    says: ({ expiresAt }) => `has been past its end since ${dayOf(expiresAt)}, and still works`,
    remedy: (user) => `check the clock of this machine; ${REPLACE(user)}`,
  },
  EXPIRY_UNKNOWN: { says: () => "expires at a time that cannot be read", remedy: REPLACE },
  LIMIT_USED_UP: { says: amountLeft, remedy: RAISE },
  NO_LIMIT: { says: () => "has no limit", remedy: () => "set a limit at https://openrouter.ai/keys" },
};

/** The scope of a key's own limit, among the budgets that can block it. */
const OWN_LIMIT = "key_limit";

/** `has used up its limit`, or the amount that is left. */
function amountLeft(terms: KeyTerms): string {
  const { limitRemaining, blockedBy, limitReset } = terms;
  const reset = limitReset === null ? "" : ` (${limitReset})`;
  const isOwn = (typeof limitRemaining === "number" && limitRemaining <= 0) || blockedBy === OWN_LIMIT;
  if (!isOwn && typeof blockedBy === "string") {
    return `belongs to a budget that is used up (${blockedBy.replaceAll("_", " ")})`;
  }
  return isUsedUp(terms) ? `has used up its limit${reset}` : `has $${(limitRemaining ?? 0).toFixed(2)} left${reset}`;
}

function dayOf(expiresAt: string | null | undefined): string {
  return publicExpiry(expiresAt)?.slice(0, 10) ?? "an unknown day";
}

export function attentionWords(names: readonly Attention[], terms: KeyTerms): string {
  return names.map((name) => TEXTS[name].says(terms)).join(" and ");
}

/** The remedies of these reasons, each once. */
export function attentionRemedies(names: Iterable<Attention>, userId: string | null): string {
  const user = userId === null ? " --user <id>" : ` ${userFlag(userId)}`;
  return [...new Set([...names].map((name) => TEXTS[name].remedy(user)))].join("; ");
}
