import { KeyctlError } from "./errors.ts";
import type { LimitReset } from "./key-record.ts";
import { checkedNumber } from "./number-options.ts";
import { rfc3339In } from "./expiry.ts";
import { printable } from "../text/printable.ts";
import type { PartlyGiven } from "./partly-given.ts";
import type { ProvisioningRules, WantedTerms } from "./provision-rules.ts";
import { LONGEST_MS } from "../text/duration.ts";

/** The highest spending limit of a key, in USD. */
export const HIGHEST_LIMIT = 999_999_999.999_999;
export const LONGEST_LABEL = 200;
export const LIMIT_RESETS: readonly LimitReset[] = ["daily", "weekly", "monthly"];

/**
 * The terms of a new key: `given`, and the rest from the environment. Throws USAGE for a given value, and CONFIG_EMPTY
 * or CONFIG_INVALID for any variable about creating keys, so that no operation begins and then fails because of one.
 */
export function termsFor(rules: ProvisioningRules, given: PartlyGiven<WantedTerms> = {}): WantedTerms {
  const checked = checkedTerms(given);
  rules.maxPerHour();
  return rules.terms(checked);
}

export function isLabel(text: string): boolean {
  return text.trim() !== "" && text.length <= LONGEST_LABEL && printable(text) === text;
}

function isLimitReset(text: string): text is LimitReset {
  return LIMIT_RESETS.some((reset) => reset === text);
}

/** An id in OpenRouter's form. */
function isWorkspace(text: string): boolean {
  return /^[A-Za-z0-9_-]{1,128}$/.test(text);
}

/** Untyped callers may pass any value. Undefined means not given. */
function checkedTerms({
  label,
  limit,
  limitReset,
  expiresInMs,
  expiresAt,
  workspace,
}: PartlyGiven<WantedTerms>): Partial<WantedTerms> {
  if (limit != null) checkedNumber("limit", limit, { from: 0, to: HIGHEST_LIMIT });
  if (expiresInMs != null) checkedNumber("expiresInMs", expiresInMs, { from: 1, to: LONGEST_MS });
  const end = checkedExpiry(expiresAt);
  requireText("label", label, isLabel, '"web shop"');
  requireText("limitReset", limitReset, isLimitReset, '"daily", "weekly" or "monthly"');
  requireText("workspace", workspace, isWorkspace, "a workspace's id");
  return {
    ...(label === undefined ? {} : { label }),
    ...(limit === undefined ? {} : { limit }),
    ...(limitReset === undefined ? {} : { limitReset }),
    ...(expiresInMs === undefined ? {} : { expiresInMs }),
    ...(end === undefined ? {} : { expiresAt: end }),
    ...(workspace === undefined ? {} : { workspace }),
  };
}

/** In keyctl's own form, in whole seconds, as OpenRouter stores it. Throws USAGE for a time that is none, or is over. */
export function checkedExpiry(expiresAt: string | undefined): string | undefined {
  if (expiresAt === undefined) return undefined;
  const end = Math.floor(Date.parse(rfc3339In(expiresAt) ?? "") / 1000) * 1000;
  if (end > Date.now()) return new Date(end).toISOString();
  const example = new Date(Date.now() + 90 * 86_400_000).toISOString();
  throw new KeyctlError("USAGE", "expiresAt is no RFC 3339 time in the future", { hint: `expiresAt: "${example}"` });
}

function requireText(
  name: string,
  value: string | null | undefined,
  isTaken: (text: string) => boolean,
  example: string,
): void {
  if (value == null || (typeof value === "string" && isTaken(value))) return;
  throw new KeyctlError("USAGE", `${name} is invalid`, { hint: `${name}: ${example}` });
}

/** An amount in USD, or null for `none`; undefined for anything else. */
export function parseLimit(text: string): number | null | undefined {
  if (text === "none") return null;
  return /^\d{1,9}(?:\.\d{1,6})?$/.test(text) ? Number(text) : undefined;
}

export function parseLimitReset(text: string): LimitReset | undefined {
  return isLimitReset(text) ? text : undefined;
}

/** An id in OpenRouter's form. */
export function parseWorkspace(text: string): string | undefined {
  return isWorkspace(text) ? text : undefined;
}
