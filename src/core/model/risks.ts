import type { KeyRecord } from "./key-record.ts";
import { knownExpiry, knownLimit } from "./known-terms.ts";

const IDLE_MS = 90 * 86_400_000;

type Rule = (row: KeyRecord) => boolean;

const RULES = {
  "no-limit": (row) => knownLimit(row) === null,
  "never-expires": (row) => knownExpiry(row) === null,
  "idle-90d": ({ lastCheck, createdAt }) => {
    if (lastCheck?.lastUsedAt === undefined) return false;
    // A key that was never used is idle since it was stored.
    return Date.parse(lastCheck.at) - Date.parse(lastCheck.lastUsedAt ?? createdAt) >= IDLE_MS;
  },
  "limit-used-up": ({ lastCheck }) =>
    typeof lastCheck?.blockedBy === "string" ||
    (typeof lastCheck?.limitRemaining === "number" && lastCheck.limitRemaining <= 0),
} as const satisfies Readonly<Record<string, Rule>>;

export type Risk = keyof typeof RULES;

// `Object.keys` types the names of this table as `string`.
export const RISKS = Object.keys(RULES) as readonly Risk[];

/** The risks of a key, as of its last check. Empty for a key that was found invalid. */
export function risksOf(row: KeyRecord): readonly Risk[] {
  if (row.lastCheck?.verdict === "invalid") return [];
  return RISKS.filter((risk) => RULES[risk](row));
}
