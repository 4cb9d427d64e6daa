import { withoutFutureChecks } from "../model/clock-skew.ts";
import { publicExpiry } from "../model/expiry.ts";
import type { KeyRecord } from "../model/key-record.ts";
import type { ApiKey } from "../model/api-key.ts";
import { knownExpiry, knownLimit, limitOverTime } from "../model/known-terms.ts";
import type { Source } from "../model/log-event.ts";
import { storedKeyWarnings } from "../model/stored-key-warnings.ts";
import type { Candidates } from "./source-candidates.ts";
import type { SyncedKey } from "../model/results.ts";

/** The facts of an answer apart from the key. */
export interface AnswerSetting {
  readonly source: Source;
  readonly candidates: Candidates;
  /** In milliseconds since 1970. */
  readonly now: number;
}

export function answer(stored: KeyRecord, key: ApiKey, { source, candidates, now }: AnswerSetting): SyncedKey {
  const row = withoutFutureChecks(stored, now);
  const expiresAt = knownExpiry(row);
  const ofStored = storedKeyWarnings(stored, now, key.hash);
  return {
    userId: row.userId,
    key,
    keyHash: key.hash,
    source,
    origin: row.origin,
    synced: source !== "database",
    createdAt: row.createdAt,
    lastCheck: row.lastCheck,
    ...limitOverTime(knownLimit(row), row.limitDue),
    limitReset: row.limitReset,
    expiresAt: expiresAt === undefined ? undefined : publicExpiry(expiresAt),
    ...candidates.shadowedBy(key),
    warnings: ofStored.length === 0 ? candidates.warnings : [...candidates.warnings, ...ofStored],
    error: null,
  };
}
