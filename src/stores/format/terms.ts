import { NO_TERMS } from "../../core/model/key-record.ts";
import type { LimitDue, Previous, Renewal, Restrictions, Terms } from "../../core/model/key-record.ts";
import {
  amountIn,
  countIn,
  expiryIn,
  fieldsIn,
  fieldsOfCheck,
  lastCheckIn,
  limitResetIn,
  textIn,
  timestampIn,
} from "./values.ts";
import type { Fields } from "./values.ts";

/** Terms and previous keys under the field names that every store uses; times are text here. */

const EPOCH = new Date(0).toISOString();

export function fieldsOfTerms(terms: Terms) {
  return {
    name: terms.name,
    label: terms.label,
    limit: terms.limit,
    limit_reset: terms.limitReset,
    expires_at: terms.expiresAt,
    upstream_hash: terms.upstreamHash,
    limit_due: terms.limitDue,
    restrictions: terms.restrictions,
  };
}

export function termsIn(fields: Fields): Terms {
  return {
    name: textIn(fields["name"]),
    label: textIn(fields["label"]),
    limit: amountIn(fields["limit"]),
    limitReset: limitResetIn(fields["limit_reset"]),
    expiresAt: expiryIn(fields["expires_at"]),
    upstreamHash: textIn(fields["upstream_hash"]),
    limitDue: limitDueIn(fields["limit_due"]),
    restrictions: restrictionsIn(fields["restrictions"]),
  };
}

export function fieldsOfRenewal({ autoRenewed, lastRenewalAt }: Renewal) {
  return { auto_renewed: autoRenewed, last_renewal_at: lastRenewalAt };
}

export function renewalIn(fields: Fields): Renewal {
  return { autoRenewed: fields["auto_renewed"] === true, lastRenewalAt: timestampIn(fields["last_renewal_at"]) };
}

export function limitDueIn(value: unknown): LimitDue | null {
  const fields = fieldsIn(value);
  const [limit, at] = [amountIn(fields?.["limit"]), timestampIn(fields?.["at"])];
  return limit === null || at === null ? null : { limit, at };
}

export function restrictionsIn(value: unknown): Restrictions | null {
  const fields = fieldsIn(value);
  return fields === null ? null : { guardrails: idsIn(fields["guardrails"]), byok: idsIn(fields["byok"]) };
}

function idsIn(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((id) => typeof id === "string") : [];
}

export function hasTerms(terms: Terms): boolean {
  return Object.keys(NO_TERMS).some((name) => terms[name as keyof Terms] !== null);
}

export function fieldsOfPrevious(previous: Previous) {
  return {
    revoke: previous.revoke,
    grace_ms: previous.graceMs,
    generation: previous.generation,
    key_hash: previous.keyHash,
    key_encrypted: previous.keyEncrypted,
    key_tail: previous.keyTail,
    source: previous.origin,
    ...fieldsOfTerms(previous),
    ...fieldsOfRenewal(previous),
    created_at: previous.createdAt,
    last_validated: previous.lastValidated,
    last_check: previous.lastCheck === null ? null : fieldsOfCheck(previous.lastCheck),
  };
}

/** Null only if there is no note: a note with missing fields is still a note. */
export function previousIn(value: unknown): Previous | null {
  const fields = fieldsIn(value);
  if (fields === null) return null;
  return {
    revoke: fields["revoke"] === true,
    graceMs: countIn(fields["grace_ms"]),
    generation: countIn(fields["generation"]) ?? 0,
    keyHash: textIn(fields["key_hash"]),
    keyEncrypted: textIn(fields["key_encrypted"]),
    keyTail: textIn(fields["key_tail"]),
    origin: textIn(fields["source"]) ?? "unknown",
    ...termsIn(fields),
    ...renewalIn(fields),
    createdAt: timestampIn(fields["created_at"]) ?? EPOCH,
    lastValidated: timestampIn(fields["last_validated"]),
    lastCheck: lastCheckIn(fields["last_check"]),
  };
}
