import type { LastCheck, Timestamp } from "./key-record.ts";
import type { UnknownReason, Remedy } from "./unknown-reason.ts";

export type InvalidReason = "deleted" | "disabled" | "expired" | "management_key" | "refused";

/** Who said so: the key itself (`GET /key`), its entry (`GET /keys/{hash}`), or the list of all keys. */
export type Witness = "key" | "hash" | "list";

/** What OpenRouter lets a key do. Money is in USD. Undefined is what was not said, null is "none". */
export interface KeyTerms {
  readonly limit: number | null | undefined;
  readonly limitRemaining: number | null | undefined;
  readonly limitReset: string | null;
  readonly expiresAt: Timestamp | null;
}

/** Valid and invalid are definite: OpenRouter said so of this very key. Everything else is unknown. */
export type Verdict =
  | ({ readonly status: "valid"; readonly reason: null; readonly witness: Witness | null } & KeyTerms)
  | ({ readonly status: "invalid"; readonly reason: string; readonly witness: Witness | null } & KeyTerms)
  | UnknownVerdict;

export interface UnknownVerdict {
  readonly status: "unknown";
  readonly reason: UnknownReason | "mass_refusal";
  readonly witness: null;
  /** One sentence. */
  readonly detail: string;
  /** It says something of OpenRouter, and not of this key alone. */
  readonly isAboutProvider: boolean;
  readonly remedy: Remedy | undefined;
}

export const NOT_SAID: KeyTerms = { limit: undefined, limitRemaining: undefined, limitReset: null, expiresAt: null };

/** The verdict of an earlier run, as the row keeps it. */
export function storedVerdict({ verdict, reason }: LastCheck): Verdict {
  if (verdict === "valid") return { status: "valid", reason: null, witness: null, ...NOT_SAID };
  return { status: "invalid", reason: reason ?? "refused", witness: null, ...NOT_SAID };
}

/** A worry about a key that works. */
export type Attention = "EXPIRES_SOON" | "LIMIT_USED_UP" | "NO_LIMIT";

export interface Limits {
  /** How long before its end a key expires soon, in milliseconds. */
  readonly warnWithinMs?: number | undefined;
  /** What a key must have left, in USD. */
  readonly minRemaining?: number | undefined;
}

const USUAL_WARNING_MS = 14 * 86_400_000;

type Rule = (terms: KeyTerms, limits: Limits, now: number) => boolean;

const RULES: Readonly<Record<Attention, Rule>> = {
  EXPIRES_SOON: ({ expiresAt }, { warnWithinMs = USUAL_WARNING_MS }, now) =>
    expiresAt !== null && Date.parse(expiresAt) <= now + warnWithinMs,
  LIMIT_USED_UP: ({ limitRemaining }, { minRemaining = 0 }) =>
    typeof limitRemaining === "number" && (limitRemaining <= 0 || limitRemaining < minRemaining),
  NO_LIMIT: ({ limit }) => limit === null,
};

export function attentionOf(verdict: Verdict, limits: Limits, now: number): readonly Attention[] {
  if (verdict.status !== "valid") return [];
  // The names of a table's own rows.
  const names = Object.keys(RULES) as Attention[];
  return names.filter((name) => RULES[name](verdict, limits, now));
}

/** Those that the caller has set a limit for, and that are a failure therefore. */
export function failingWarnings(attention: readonly Attention[], limits: Limits): readonly Attention[] {
  return attention.filter(
    (name) =>
      (name === "EXPIRES_SOON" && limits.warnWithinMs !== undefined) ||
      (name === "LIMIT_USED_UP" && limits.minRemaining !== undefined),
  );
}
