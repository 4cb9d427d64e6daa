import type { LimitReset } from "./key-record.ts";

/**
 * **Order:** RECORD OPERATION, CREATE KEY with one POST, RECORD OUTCOME; only then may a user's next operation begin. A POST
 * without a clear answer is abandoned first; a key that it may have created is then searched for by name. Time only says
 * when another command's operation is suspected to be dead, never whether an action is safe.
 */

/** The terms of a new key. Money is in USD. */
export interface WantedTerms {
  /** A person's label for it; stored only in the row. */
  readonly label: string | null;
  /** Null: no spending limit. */
  readonly limit: number | null;
  readonly limitReset: LimitReset | null;
  /** The lifetime in milliseconds; null: the key does not expire. */
  readonly expiresInMs: number | null;
  /** When the key expires, in place of its lifetime: an RFC 3339 time with its offset. */
  readonly expiresAt?: string;
  /** Null: the default workspace. */
  readonly workspace: string | null;
}

/** How keys are created here. */
export interface ProvisioningRules {
  /** The terms of a new key: those given, and the rest from the environment. Throws CONFIG_EMPTY, CONFIG_INVALID. */
  readonly terms: (given: Partial<WantedTerms>) => WantedTerms;
  /** For all users of a store: no more keys are created automatically. 0: no limit. Throws CONFIG_EMPTY, CONFIG_INVALID. */
  readonly maxPerHour: () => number;
  /** Why this run creates no key automatically; null if it may. */
  readonly refusal: string | null;
}
