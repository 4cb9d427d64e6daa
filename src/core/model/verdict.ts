import { expiryMs, isOver } from "./expiry.ts";
import type { LastCheck, Timestamp } from "./key-record.ts";
import type { UnknownReason, Remedy } from "./unknown-reason.ts";

export type InvalidReason = "deleted" | "disabled" | "expired" | "management_key" | "refused";

/** The source of a verdict: the key itself (`GET /key`), its entry (`GET /keys/{hash}`), or the list of all keys. */
export type Witness = "key" | "hash" | "list";

/** The terms of a key at OpenRouter. Money is in USD. Undefined: OpenRouter did not say. Null: none. */
export interface KeyTerms {
  readonly limit: number | null | undefined;
  readonly limitRemaining: number | null | undefined;
  readonly limitReset: string | null;
  /** An unreadable time is kept as a text that is not RFC 3339. */
  readonly expiresAt: string | null | undefined;
  /** The scope of the budget that is used up, such as `workspace`; known only from `GET /key`. */
  readonly blockedBy: string | null | undefined;
  /** Null: not used since OpenRouter began to count. Known only from the entry of a key. */
  readonly lastUsedAt: Timestamp | null | undefined;
}

/** Valid and invalid are definite: OpenRouter's answer about this key. Everything else is unknown. */
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
  /** The answer concerns OpenRouter, and not only this key. */
  readonly isAboutProvider: boolean;
  readonly remedy: Remedy | undefined;
}

export const NOT_SAID: KeyTerms = {
  limit: undefined,
  limitRemaining: undefined,
  limitReset: null,
  expiresAt: undefined,
  blockedBy: undefined,
  lastUsedAt: undefined,
};

/** The part of a definite verdict that a row keeps. */
export function lastCheckOf(verdict: Exclude<Verdict, UnknownVerdict>, at: Timestamp): LastCheck {
  const { status, reason, limit, limitRemaining, blockedBy, expiresAt, lastUsedAt } = verdict;
  return {
    at,
    verdict: status,
    reason,
    ...(limit === undefined ? {} : { limit }),
    ...(limitRemaining === undefined ? {} : { limitRemaining }),
    ...(blockedBy === undefined ? {} : { blockedBy }),
    ...(expiresAt === undefined ? {} : { expiresAt }),
    ...(lastUsedAt === undefined ? {} : { lastUsedAt }),
  };
}

const INVALID_WORDS: Readonly<Record<InvalidReason, string>> = {
  deleted: "deleted at OpenRouter",
  disabled: "disabled at OpenRouter",
  expired: "expired at OpenRouter",
  management_key: "to be a management key",
  refused: "refused by OpenRouter",
};

/** The result of a check, such as `valid` or `deleted at OpenRouter`; not yet escaped for output. */
export function checkInWords({ verdict, reason }: Pick<LastCheck, "verdict" | "reason">): string {
  if (verdict === "valid") return verdict;
  return isInvalidReason(reason) ? INVALID_WORDS[reason] : (reason ?? INVALID_WORDS.refused);
}

function isInvalidReason(reason: string | null): reason is InvalidReason {
  return reason !== null && Object.hasOwn(INVALID_WORDS, reason);
}

/** The verdict of an earlier run, from its row. */
export function storedVerdict({ verdict, reason, at: _at, ...said }: LastCheck): Verdict {
  const terms = { ...NOT_SAID, ...said, witness: null };
  if (verdict === "valid") return { status: "valid", reason: null, ...terms };
  return { status: "invalid", reason: reason ?? "refused", ...terms };
}

/** A remark on a key that works. */
export type Attention = "EXPIRES_SOON" | "EXPIRED" | "EXPIRY_UNKNOWN" | "LIMIT_USED_UP" | "NO_LIMIT";

export interface Limits {
  /** How long before its expiry a key counts as `EXPIRES_SOON`, in milliseconds. Default 14 days. */
  readonly warnWithinMs?: number | undefined;
  /** A key with less than this left, in USD, counts as `LIMIT_USED_UP`; so does a key with nothing left. */
  readonly minRemaining?: number | undefined;
}

/** How long before its expiry a key counts as `EXPIRES_SOON`, where nobody says. */
export const WARN_WITHIN_MS = 14 * 86_400_000;

type Rule = (terms: KeyTerms, limits: Limits, now: number) => boolean;

const RULES: Readonly<Record<Attention, Rule>> = {
  EXPIRES_SOON: ({ expiresAt }, { warnWithinMs = WARN_WITHIN_MS }, now) => {
    return isOver(expiresAt, now + warnWithinMs) && !isOver(expiresAt, now);
  },
  // OpenRouter still accepts the key: one of the two clocks is wrong, or the key is about to be refused.
  EXPIRED: ({ expiresAt }, _limits, now) => isOver(expiresAt, now),
  EXPIRY_UNKNOWN: ({ expiresAt }) => expiryMs(expiresAt) === "unknown",
  LIMIT_USED_UP: (terms, { minRemaining = 0 }) =>
    isUsedUp(terms) || (typeof terms.limitRemaining === "number" && terms.limitRemaining < minRemaining),
  NO_LIMIT: ({ limit }) => limit === null,
};

export function attentionOf(verdict: Verdict, limits: Limits, now: number): readonly Attention[] {
  if (verdict.status !== "valid") return [];
  // `Object.keys` types the names of this table as `string`.
  const names = Object.keys(RULES) as Attention[];
  return names.filter((name) => RULES[name](verdict, limits, now));
}

/** Nothing is left, of its own limit or of a budget that it belongs to. */
export function isUsedUp({ limitRemaining, blockedBy }: KeyTerms): boolean {
  return typeof blockedBy === "string" || (typeof limitRemaining === "number" && limitRemaining <= 0);
}

/** An unknown expiry may be any time. */
const ABOUT_THE_END: ReadonlySet<Attention> = new Set(["EXPIRES_SOON", "EXPIRED", "EXPIRY_UNKNOWN"]);

/** The attention values for which the caller set a limit, which makes them errors. */
export function failingWarnings(attention: readonly Attention[], limits: Limits): readonly Attention[] {
  return attention.filter(
    (name) =>
      (ABOUT_THE_END.has(name) && limits.warnWithinMs !== undefined) ||
      (name === "LIMIT_USED_UP" && limits.minRemaining !== undefined),
  );
}
