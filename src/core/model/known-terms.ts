import { expiryMs } from "./expiry.ts";
import type { KeyRecord } from "./key-record.ts";

/**
 * What is known of a stored key without asking: from its creation, if keyctl created it, and from its last check. Undefined is
 * what neither says, null is "none".
 */

/** The earlier of the two, and one that cannot be read before any that can: nobody is told that a key lasts longer than it does. */
export function knownExpiry({
  generation,
  expiresAt,
  lastCheck,
}: Pick<KeyRecord, "generation" | "expiresAt" | "lastCheck">): string | null | undefined {
  const given = generation === 0 && expiresAt === null ? undefined : expiresAt;
  const checked = lastCheck?.expiresAt;
  if (given === undefined || given === checked) return checked;
  if (checked === undefined) return given;
  const givenMs = expiryMs(given);
  const checkedMs = expiryMs(checked);
  if (givenMs === "unknown" || checkedMs === "unknown") return givenMs === "unknown" ? given : checked;
  return givenMs <= checkedMs ? given : checked;
}

/** In USD; the last check knows what was changed since the creation. */
export function knownLimit({
  generation,
  limit,
  lastCheck,
}: Pick<KeyRecord, "generation" | "limit" | "lastCheck">): number | null | undefined {
  return lastCheck?.limit === undefined ? (generation === 0 ? undefined : limit) : lastCheck.limit;
}

const IDLE_MS = 90 * 86_400_000;

type Rule = (row: KeyRecord) => boolean;

const RULES = {
  "no-limit": (row) => knownLimit(row) === null,
  "never-expires": (row) => knownExpiry(row) === null,
  "idle-90d": ({ lastCheck, createdAt }) => {
    if (lastCheck?.lastUsedAt === undefined) return false;
    // One that was never used is idle since it was stored.
    return Date.parse(lastCheck.at) - Date.parse(lastCheck.lastUsedAt ?? createdAt) >= IDLE_MS;
  },
  "limit-used-up": ({ lastCheck }) =>
    typeof lastCheck?.blockedBy === "string" ||
    (typeof lastCheck?.limitRemaining === "number" && lastCheck.limitRemaining <= 0),
} as const satisfies Readonly<Record<string, Rule>>;

export type Risk = keyof typeof RULES;

// The names of a table's own rows.
export const RISKS = Object.keys(RULES) as readonly Risk[];

/** The risks of a key that works as far as is known, as of its last check. */
export function risksOf(row: KeyRecord): readonly Risk[] {
  if (row.lastCheck?.verdict === "invalid") return [];
  return RISKS.filter((risk) => RULES[risk](row));
}
