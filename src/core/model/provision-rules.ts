import type { LimitReset } from "./key-record.ts";

/**
 * **Order:** RECORD OPERATION, CREATE KEY with one POST, RECORD OUTCOME; the next operation of a user begins only then. A POST
 * without a clear answer is abandoned first, and what it may have created is looked for by its name after that. Time only
 * says when another command's operation is suspected to be dead, never whether an action is safe.
 */

/** What a new key may do. Money is in USD. */
export interface WantedTerms {
  /** What a person calls it; kept in the row only. */
  readonly label: string | null;
  /** Null: it can spend without bound. */
  readonly limit: number | null;
  readonly limitReset: LimitReset | null;
  /** How long it lives, in milliseconds; null: for ever. */
  readonly expiresInMs: number | null;
  /** Null: the default one. */
  readonly workspace: string | null;
}

/** How keys are made here. */
export interface ProvisioningRules {
  /** What a new key may do: what is given, and the rest as the environment says. Throws CONFIG_EMPTY, CONFIG_INVALID. */
  readonly terms: (given: Partial<WantedTerms>) => WantedTerms;
  /** Of all users of a store: more are not made by themselves. 0: no end. Throws CONFIG_EMPTY, CONFIG_INVALID. */
  readonly maxPerHour: () => number;
  /** Why none is made by itself in this run; null when it may be. */
  readonly refusal: string | null;
}
