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
