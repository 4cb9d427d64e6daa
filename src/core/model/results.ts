import type { ApiKey } from "./api-key.ts";
import type { KeyctlError } from "./errors.ts";
import { withoutKeys } from "./redact-keys.ts";
import type { KeyRecord, LastCheck, Timestamp } from "./key-record.ts";
import type { ExternalSource, Source } from "./log-event.ts";
import type { Verdict } from "./verdict.ts";
import type { Warning } from "./warning.ts";

/** What became of a user's key: where `error` is null there is a key. */
export type SyncResult = SyncedKey | SyncFailure;

/** Results of many users, as they come. */
export type ResultBatches<Result> = AsyncGenerator<readonly Result[]>;

export interface SyncedKey {
  readonly userId: string;
  readonly key: ApiKey;
  readonly keyHash: string;
  /** Where this answer came from. */
  readonly source: Source;
  /** How the key entered the database. */
  readonly origin: string;
  /** True when this call wrote the key to the database. */
  readonly synced: boolean;
  /** When the stored key was written. */
  readonly createdAt: Timestamp;
  /** Null also where it is from the future. */
  readonly lastCheck: LastCheck | null;
  /** In USD, as far as it is known without asking; null is none, undefined is not known. */
  readonly limit: number | null | undefined;
  readonly limitReset: string | null;
  /** Null is never, undefined is not known; `unknown` for an end that cannot be read. */
  readonly expiresAt: string | null | undefined;
  /** Sources that hold another well-formed key and lost. */
  readonly shadowed: readonly ExternalSource[];
  /** The last four characters of each of those keys, in the same order. */
  readonly shadowedTails: readonly string[];
  readonly warnings: readonly Warning[];
  readonly error: null;
}

/** An expected failure, in the same fields. */
export interface SyncFailure {
  readonly userId: string;
  readonly key: null;
  readonly keyHash: null;
  readonly source: null;
  readonly origin: null;
  readonly synced: false;
  readonly createdAt: null;
  readonly lastCheck: null;
  readonly limit: undefined;
  readonly limitReset: null;
  readonly expiresAt: undefined;
  readonly shadowed: readonly [];
  readonly shadowedTails: readonly [];
  readonly warnings: readonly Warning[];
  readonly error: KeyctlError;
}

/** `valid` is null: not asked, or nobody could find out. A key that does not work, or may not, comes with its error. */
export type EnsureResult =
  | (Pick<SyncedKey, "key" | "source" | "warnings" | "error"> & { readonly valid: true | null })
  | (Pick<SyncedKey, "key" | "source" | "warnings"> & { readonly valid: boolean | null; readonly error: KeyctlError })
  | (Pick<SyncFailure, "key" | "source" | "warnings" | "error"> & { readonly valid: null });

/** The key that a row held before it was replaced or purged: what may be shown of it. */
export interface FormerKey {
  /** The mask; null when the row held no readable key. */
  readonly key: string | null;
  readonly keyHash: string | null;
  readonly origin: string;
}

export interface SaveResult {
  readonly userId: string;
  readonly key: ApiKey | null;
  readonly keyHash: string | null;
  readonly origin: string | null;
  /** False when the database held this very key already, or nothing was saved. */
  readonly changed: boolean;
  readonly previous: (FormerKey & { readonly revocation: "done" | "pending" | "kept" | "not_ours" }) | null;
  readonly warnings: readonly Warning[];
  readonly error: KeyctlError | null;
}

/** `verdict` is null where OpenRouter was not asked. */
export type CheckedSaveResult = SaveResult & { readonly verdict: Verdict | null };

/** A key that was made because somebody asked for it. `row` and `key` are null exactly when `error` is not. */
export interface ProvisionResult {
  readonly userId: string;
  readonly key: ApiKey | null;
  readonly row: KeyRecord | null;
  readonly warnings: readonly Warning[];
  readonly error: KeyctlError | null;
}

export interface PurgeResult {
  readonly userId: string;
  /** What was removed, or would have been; null when there was no row. */
  readonly former: FormerKey | null;
  readonly purged: boolean;
  /** What became of the key at OpenRouter; null when nothing was purged. */
  readonly revocation: "done" | "pending" | "kept" | "not_ours" | null;
  /** How many keys were deleted at OpenRouter: the user's, and those that keyctl created for them before. */
  readonly revokedKeys: number;
  /** Sources from which the next sync would store a key again; `auto-provisioned`: it would create a new one, which is paid. */
  readonly returnsFrom: readonly (ExternalSource | "auto-provisioned")[];
  readonly warnings: readonly Warning[];
  readonly error: KeyctlError | null;
}

/** What a purge would remove. */
export interface PurgePreview extends PurgeResult {
  /** How many keys that keyctl created for this user before were kept at OpenRouter, and would go too; 0 without `revoke`. */
  readonly retained: number;
}

/**
 * What a source is to the search for a user's key. `shadowed` holds another key than the winner's, `ignored` holds
 * something that is not used, `unavailable` could not be asked.
 */
export type StepState = "used" | "shadowed" | "absent" | "ignored" | "unavailable" | "not_needed";

/** One source, in the order in which sync asks them. */
export interface Step {
  readonly source: Exclude<Source, "manual">;
  readonly state: StepState;
  /** The mask. */
  readonly key: string | null;
  readonly keyHash: string | null;
  /** Why it is so, where the state does not say it; nothing of what was read. */
  readonly reason: string | null;
}

/** What sync would do now. */
export type Forecast =
  | { readonly kind: "keeps" }
  | { readonly kind: "makes" }
  | { readonly kind: "saves"; readonly from: ExternalSource }
  | { readonly kind: "fails"; readonly error: KeyctlError };

/** Where a user's key would come from, and how the sync that it foretells would end: `error` is what that would fail with. */
export interface Explanation {
  readonly userId: string;
  /** Null where no source has a key that wins; a sync may fail where one has. */
  readonly winner: Step["source"] | null;
  readonly steps: readonly Step[];
  /** How the key in the database came there, and when. */
  readonly stored: { readonly origin: string; readonly createdAt: Timestamp } | null;
  readonly sync: Forecast;
  readonly warnings: readonly Warning[];
  readonly error: KeyctlError | null;
}

const nothing = { key: null, keyHash: null, origin: null, warnings: [] } as const;

/** A key that was given in place of a user id is not repeated. */
export function syncFailed(userId: string, error: KeyctlError, warnings: readonly Warning[] = []): SyncFailure {
  return {
    ...nothing,
    userId: withoutKeys(userId),
    source: null,
    synced: false,
    createdAt: null,
    lastCheck: null,
    limit: undefined,
    limitReset: null,
    expiresAt: undefined,
    shadowed: [],
    shadowedTails: [],
    warnings,
    error,
  };
}

export function explainFailed(userId: string, error: KeyctlError): Explanation {
  const sync = { kind: "fails", error } as const;
  return { userId: withoutKeys(userId), winner: null, steps: [], stored: null, sync, warnings: [], error };
}

export function saveFailed(userId: string, error: KeyctlError, verdict: Verdict | null = null): CheckedSaveResult {
  return { ...nothing, userId: withoutKeys(userId), changed: false, previous: null, error, verdict };
}

export function purgeFailed(userId: string, error: KeyctlError): PurgeResult {
  return {
    userId: withoutKeys(userId),
    former: null,
    purged: false,
    revocation: null,
    revokedKeys: 0,
    returnsFrom: [],
    warnings: [],
    error,
  };
}

export function purgePreviewFailed(userId: string, error: KeyctlError): PurgePreview {
  return { ...purgeFailed(userId, error), retained: 0 };
}

export function provisionFailed(userId: string, error: KeyctlError): ProvisionResult {
  return { userId: withoutKeys(userId), key: null, row: null, warnings: [], error };
}
