import type { KeyRecord } from "./key-record.ts";
import { knownExpiry, knownLimit } from "./known-terms.ts";

const IDLE_MS = 90 * 86_400_000;

/** Undefined: the last check did not say. */
type Rule = (row: KeyRecord) => boolean | undefined;

const RULES = {
  "no-limit": (row) => isNull(knownLimit(row)),
  "never-expires": (row) => isNull(knownExpiry(row)),
  "idle-90d": ({ lastCheck, createdAt }) => {
    if (lastCheck?.lastUsedAt === undefined) return undefined;
    // A key that was never used is idle since it was stored.
    return Date.parse(lastCheck.at) - Date.parse(lastCheck.lastUsedAt ?? createdAt) >= IDLE_MS;
  },
  "limit-used-up": ({ lastCheck }) => {
    if (typeof lastCheck?.blockedBy === "string") return true;
    if (typeof lastCheck?.limitRemaining === "number" && lastCheck.limitRemaining <= 0) return true;
    // A listing does not show the budgets that may block a key.
    return lastCheck?.blockedBy === undefined ? undefined : false;
  },
} as const satisfies Readonly<Record<string, Rule>>;

function isNull(value: unknown): boolean | undefined {
  return value === undefined ? undefined : value === null;
}

export type Risk = keyof typeof RULES;

// `Object.keys` types the names of this table as `string`.
export const RISKS = Object.keys(RULES) as readonly Risk[];

/** The risks of a key, as of its last check, and those that this check did not tell. */
export interface KeyRisks {
  readonly known: readonly Risk[];
  readonly unknown: readonly Risk[];
}

const NONE: KeyRisks = { known: [], unknown: [] };

/** None for a key that was found invalid. */
export function risksOf(row: KeyRecord): KeyRisks {
  if (row.lastCheck?.verdict === "invalid") return NONE;
  return {
    known: RISKS.filter((risk) => RULES[risk](row) === true),
    unknown: RISKS.filter((risk) => RULES[risk](row) === undefined),
  };
}
