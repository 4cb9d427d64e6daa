import { expiryMs, isOver } from "./expiry.ts";
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
  /** A text that is no RFC 3339 time where it cannot be read. */
  readonly expiresAt: string | null | undefined;
  /** The scope of the budget that is used up, such as `workspace`; GET /key alone says it. */
  readonly blockedBy: string | null | undefined;
  /** Null: not since OpenRouter counts. The entry of a key alone says it. */
  readonly lastUsedAt: Timestamp | null | undefined;
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

export const NOT_SAID: KeyTerms = {
  limit: undefined,
  limitRemaining: undefined,
  limitReset: null,
  expiresAt: undefined,
  blockedBy: undefined,
  lastUsedAt: undefined,
};

/** What a row keeps of a definite verdict. */
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

/** What a check found, as `valid` or `deleted at OpenRouter`; to be escaped where it is shown. */
export function checkInWords({ verdict, reason }: Pick<LastCheck, "verdict" | "reason">): string {
  if (verdict === "valid") return verdict;
  return isInvalidReason(reason) ? INVALID_WORDS[reason] : (reason ?? INVALID_WORDS.refused);
}

function isInvalidReason(reason: string | null): reason is InvalidReason {
  return reason !== null && Object.hasOwn(INVALID_WORDS, reason);
}

/** The verdict of an earlier run, as the row keeps it. */
export function storedVerdict({ verdict, reason, at: _at, ...said }: LastCheck): Verdict {
  const terms = { ...NOT_SAID, ...said, witness: null };
  if (verdict === "valid") return { status: "valid", reason: null, ...terms };
  return { status: "invalid", reason: reason ?? "refused", ...terms };
}

/** A worry about a key that works. */
export type Attention = "EXPIRES_SOON" | "EXPIRED" | "EXPIRY_UNKNOWN" | "LIMIT_USED_UP" | "NO_LIMIT";

export interface Limits {
  /** How long before its end a key expires soon, in milliseconds. */
  readonly warnWithinMs?: number | undefined;
  /** What a key must have left, in USD. */
  readonly minRemaining?: number | undefined;
}

const USUAL_WARNING_MS = 14 * 86_400_000;

type Rule = (terms: KeyTerms, limits: Limits, now: number) => boolean;

const RULES: Readonly<Record<Attention, Rule>> = {
  EXPIRES_SOON: ({ expiresAt }, { warnWithinMs = USUAL_WARNING_MS }, now) => {
    return isOver(expiresAt, now + warnWithinMs) && !isOver(expiresAt, now);
  },
  // OpenRouter accepts it all the same: one of the two clocks is wrong, or it is about to be refused.
  EXPIRED: ({ expiresAt }, _limits, now) => isOver(expiresAt, now),
  EXPIRY_UNKNOWN: ({ expiresAt }) => expiryMs(expiresAt) === "unknown",
  LIMIT_USED_UP: ({ limitRemaining, blockedBy }, { minRemaining = 0 }) =>
    typeof blockedBy === "string" ||
    (typeof limitRemaining === "number" && (limitRemaining <= 0 || limitRemaining < minRemaining)),
  NO_LIMIT: ({ limit }) => limit === null,
};

export function attentionOf(verdict: Verdict, limits: Limits, now: number): readonly Attention[] {
  if (verdict.status !== "valid") return [];
  // The names of a table's own rows.
  const names = Object.keys(RULES) as Attention[];
  return names.filter((name) => RULES[name](verdict, limits, now));
}

/** An end that is not known may be any. */
const ABOUT_THE_END: ReadonlySet<Attention> = new Set(["EXPIRES_SOON", "EXPIRED", "EXPIRY_UNKNOWN"]);

/** Those that the caller has set a limit for, and that are a failure therefore. */
export function failingWarnings(attention: readonly Attention[], limits: Limits): readonly Attention[] {
  return attention.filter(
    (name) =>
      (ABOUT_THE_END.has(name) && limits.warnWithinMs !== undefined) ||
      (name === "LIMIT_USED_UP" && limits.minRemaining !== undefined),
  );
}
