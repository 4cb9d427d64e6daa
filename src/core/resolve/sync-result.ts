import type { KeyRecord } from "../model/key-record.ts";
import type { ApiKey } from "../model/api-key.ts";
import type { Source } from "../model/log-event.ts";
import { Candidates } from "./source-candidates.ts";
import type { SyncedKey } from "../model/results.ts";

export function answer(row: KeyRecord, key: ApiKey, source: Source, candidates: Candidates): SyncedKey {
  return {
    userId: row.userId,
    key,
    keyHash: key.hash,
    source,
    origin: row.origin,
    synced: source !== "database",
    createdAt: row.createdAt,
    lastCheck: row.lastCheck,
    ...candidates.shadowedBy(key),
    warnings: candidates.warnings,
    error: null,
  };
}
