import type { ApiKey } from "./api-key.ts";
import type { KeyctlError } from "./errors.ts";
import type { KeyRecord, LastCheck, Timestamp } from "./key-record.ts";
import type { ExternalSource, Source } from "./log-event.ts";
import type { Verdict } from "./verdict.ts";
import { repeatableId } from "./user-id.ts";
import type { Warning } from "./warning.ts";

/** The result for a user. If `error` is null, there is a key. */
export type SyncResult = SyncedKey | SyncFailure;

/** Results of many users, yielded as they arrive. */
export type ResultBatches<Result> = AsyncGenerator<readonly Result[]>;

export interface SyncedKey {
  readonly userId: string;
  readonly key: ApiKey;
  readonly keyHash: string;
  /** The source of this answer. */
  readonly source: Source;
  /** How the key entered the database. */
  readonly origin: string;
  /** True when this call wrote the key to the database. */
  readonly synced: boolean;
  /** When the stored key was written. */
  readonly createdAt: Timestamp;
  /** Also null if its time is in the future. */
  readonly lastCheck: LastCheck | null;
  /** The full limit in USD, as far as it is known without asking. Null: no limit. Undefined: not known. */
  readonly limit: number | null | undefined;
  /** The limit until `limitRestoreAt`; `limit` if that is not lowered. */
  readonly limitNow: number | null | undefined;
  readonly limitRestoreAt: Timestamp | null;
  readonly limitReset: string | null;
  /** Null: never. Undefined: not known. `unknown`: an expiry that cannot be read. */
  readonly expiresAt: string | null | undefined;
  /** Sources that hold another well-formed key and were not used. */
  readonly shadowed: readonly ExternalSource[];
  /** The last four characters of each of those keys, in the same order. */
  readonly shadowedTails: readonly string[];
  readonly warnings: readonly Warning[];
  readonly error: null;
}

/** An expected failure, with the same fields. */
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
  readonly limitNow: undefined;
  readonly limitRestoreAt: null;
  readonly limitReset: null;
  readonly expiresAt: undefined;
  readonly shadowed: readonly [];
  readonly shadowedTails: readonly [];
  readonly warnings: readonly Warning[];
  readonly error: KeyctlError;
}

/** `valid` is null if OpenRouter was not asked or gave no verdict. An invalid key comes with its error. */
export type EnsureResult =
  | (Pick<SyncedKey, "key" | "source" | "warnings" | "error"> & { readonly valid: true | null })
  | (Pick<SyncedKey, "key" | "source" | "warnings"> & { readonly valid: boolean | null; readonly error: KeyctlError })
  | (Pick<SyncFailure, "key" | "source" | "warnings" | "error"> & { readonly valid: null });

/** The key that a row held before it was replaced or purged, as far as it may be shown. */
export interface FormerKey {
  /** The mask; null if the row held no readable key. */
  readonly key: string | null;
  readonly keyHash: string | null;
  readonly origin: string;
  /** Whether keyctl created it. */
  readonly isOurs: boolean;
}

export interface SaveResult {
  readonly userId: string;
  readonly key: ApiKey | null;
  readonly keyHash: string | null;
  readonly origin: string | null;
  /** False if the database already held this key, or nothing was saved. */
  readonly changed: boolean;
  readonly previous: (FormerKey & { readonly revocation: "done" | "pending" | "kept" | "not_ours" }) | null;
  readonly warnings: readonly Warning[];
  readonly error: KeyctlError | null;
}

/** `verdict` is null if OpenRouter was not asked. */
export type CheckedSaveResult = SaveResult & { readonly verdict: Verdict | null };

/**
 * A key that was created on request; among many users also one that was there already. `row` is null exactly if `error`
 * is not.
 */
export interface ProvisionResult {
  readonly userId: string;
  /** False: nothing was created. Without an error, the row was there, and its key was not opened. */
  readonly created: boolean;
  /** Null exactly if nothing was created. */
  readonly key: ApiKey | null;
  readonly row: KeyRecord | null;
  readonly warnings: readonly Warning[];
  readonly error: KeyctlError | null;
}

export interface PurgeResult {
  readonly userId: string;
  /** The key that was removed, or would be; null if there was no row. */
  readonly former: FormerKey | null;
  readonly purged: boolean;
  /** A tombstone stands now: no key is stored for this user until an unblock. */
  readonly blocked: boolean;
  /** A tombstone stood before. */
  readonly wasBlocked: boolean;
  /** The state of the key at OpenRouter; null if nothing was purged. */
  readonly revocation: "done" | "pending" | "kept" | "not_ours" | null;
  /** How many keys were deleted at OpenRouter: the user's key, and earlier ones that keyctl created for the user. */
  readonly revokedKeys: number;
  /** Sources of a key that the next sync would store again. `auto-provisioned`: it would create a new, paid key. */
  readonly returnsFrom: readonly (ExternalSource | "auto-provisioned")[];
  readonly warnings: readonly Warning[];
  readonly error: KeyctlError | null;
}

export interface UnblockResult {
  readonly userId: string;
  /** False: the user was not blocked. */
  readonly unblocked: boolean;
  readonly warnings: readonly Warning[];
  readonly error: KeyctlError | null;
}

/** The keys that a purge would remove. */
export interface PurgePreview extends PurgeResult {
  /** How many earlier keys by keyctl, kept at OpenRouter, would be deleted too; 0 without `revoke`. */
  readonly retained: number;
}

/**
 * The state of a source in the search for a user's key. `shadowed`: holds another key than the winner. `ignored`: holds
 * something that is not used. `unavailable`: could not be read. `blocked`: no key is stored for the user or handed out.
 */
export type StepState = "used" | "shadowed" | "absent" | "ignored" | "unavailable" | "not_needed" | "blocked";

/** One source, in the order of the search. */
export interface Step {
  readonly source: Exclude<Source, "manual">;
  readonly state: StepState;
  /** The mask. */
  readonly key: string | null;
  readonly keyHash: string | null;
  /** The reason, if the state does not tell it. Contains nothing of what was read. */
  readonly reason: string | null;
}

/** What sync would do now. */
export type Forecast =
  | { readonly kind: "keeps" }
  | { readonly kind: "makes" }
  | { readonly kind: "saves"; readonly from: ExternalSource }
  | { readonly kind: "fails"; readonly error: KeyctlError };

/** The source of a user's key, and how the next sync would end: `error` is the error that it would fail with. */
export interface Explanation {
  readonly userId: string;
  /** Null if no source holds a key that wins. A sync may fail even with a winner. */
  readonly winner: Step["source"] | null;
  readonly steps: readonly Step[];
  /** The origin of the key in the database, and when it was stored. */
  readonly stored: { readonly origin: string; readonly createdAt: Timestamp } | null;
  readonly sync: Forecast;
  readonly warnings: readonly Warning[];
  readonly error: KeyctlError | null;
}

const nothing = { key: null, keyHash: null, origin: null, warnings: [] } as const;

/** A key that was given instead of a user id is not repeated. */
export function syncFailed(userId: string, error: KeyctlError, warnings: readonly Warning[] = []): SyncFailure {
  return {
    ...nothing,
    userId: repeatableId(userId),
    source: null,
    synced: false,
    createdAt: null,
    lastCheck: null,
    limit: undefined,
    limitNow: undefined,
    limitRestoreAt: null,
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
  return { userId: repeatableId(userId), winner: null, steps: [], stored: null, sync, warnings: [], error };
}

export function saveFailed(userId: string, error: KeyctlError, verdict: Verdict | null = null): CheckedSaveResult {
  return { ...nothing, userId: repeatableId(userId), changed: false, previous: null, error, verdict };
}

export function purgeFailed(userId: string, error: KeyctlError): PurgeResult {
  return {
    userId: repeatableId(userId),
    former: null,
    purged: false,
    blocked: false,
    wasBlocked: false,
    revocation: null,
    revokedKeys: 0,
    returnsFrom: [],
    warnings: [],
    error,
  };
}

export function unblockFailed(userId: string, error: KeyctlError): UnblockResult {
  return { userId: repeatableId(userId), unblocked: false, warnings: [], error };
}

export function purgePreviewFailed(userId: string, error: KeyctlError): PurgePreview {
  return { ...purgeFailed(userId, error), retained: 0 };
}

export function provisionFailed(userId: string, error: KeyctlError): ProvisionResult {
  return { userId: repeatableId(userId), created: false, key: null, row: null, warnings: [], error };
}
