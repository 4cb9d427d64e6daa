import { expiryMs } from "./expiry.ts";
import type { KeyRecord, LimitDue, Timestamp } from "./key-record.ts";

/**
 * The terms of a stored key that are known without asking: from its creation, if keyctl created it, and from its last
 * check. Undefined: neither states it. Null: none.
 */

/** The earlier of the two, or the one that cannot be read: a key is never shown to last longer than it does. */
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

/** In USD. The last check includes changes since the creation. */
export function knownLimit({
  generation,
  limit,
  lastCheck,
}: Pick<KeyRecord, "generation" | "limit" | "lastCheck">): number | null | undefined {
  return lastCheck?.limit === undefined ? (generation === 0 ? undefined : limit) : lastCheck.limit;
}

/** In USD. A key whose limit is lowered after a rotation gets its full limit back. */
export interface LimitOverTime<Limit = number | null | undefined> {
  /** The full limit. */
  readonly limit: Limit;
  /** The limit until `limitRestoreAt`; `limit` if that is not lowered. */
  readonly limitNow: Limit;
  readonly limitRestoreAt: Timestamp | null;
}

export function limitOverTime<Limit extends number | null | undefined>(
  limitNow: Limit,
  limitDue: LimitDue | null,
): LimitOverTime<Limit | number> {
  if (limitDue === null) return { limit: limitNow, limitNow, limitRestoreAt: null };
  return { limit: limitDue.limit, limitNow, limitRestoreAt: limitDue.at };
}
