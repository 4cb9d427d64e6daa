import type { ApiKey } from "./api-key.ts";
import type { KeyctlError } from "./errors.ts";
import type { Timestamp } from "./key-record.ts";
import type { FormerKey } from "./results.ts";
import { repeatableId } from "./user-id.ts";
import type { Warning } from "./warning.ts";

/** The limit of the new key. `keep`: what is left of the old key's limit, and all of it again after the next reset. */
export type NewLimit = "keep" | "full" | number | null;

export interface RotateTask {
  /** For how long the old key goes on working, in milliseconds; 0: it is removed at once. */
  readonly graceMs: number;
  readonly limit: NewLimit;
  /** The lifetime of the new key, in milliseconds; null: it never expires. Undefined: the lifetime of the old key. */
  readonly expiresInMs?: number | null | undefined;
  /** When the new key expires, in place of its lifetime: an RFC 3339 time with its offset. */
  readonly expiresAt?: string | undefined;
  /** Whether a key that is disabled at OpenRouter is rotated. */
  readonly includeDisabled: boolean;
  /**
   * What becomes of a key that keyctl did not create: it is not rotated (`refuse`), replaced and left alive (`keep`), or
   * replaced and removed (`revoke`, with a grace of 0 only).
   */
  readonly foreign: "refuse" | "keep" | "revoke";
  /** Whether to stay until the grace is over and the old key is confirmed to be refused. */
  readonly wait: boolean;
}

export interface RotatedPrevious extends FormerKey {
  readonly revocation: "done" | "scheduled" | "pending" | "kept" | "not_ours";
  /** When the old key is removed; null unless `scheduled`. */
  readonly revokeAt: Timestamp | null;
}

/** What was carried over to the new key. `unknown`: OpenRouter did not say what is attached. */
export interface CarriedRestrictions {
  readonly guardrail: "carried" | "none" | "unknown";
  /** How many allow-lists name the new key; null if that is unknown. */
  readonly allowLists: number | null;
}

/** `key` is null exactly if no new key is in use; then `error` is not null. */
export interface RotateResult {
  readonly userId: string;
  readonly key: ApiKey | null;
  readonly keyHash: string | null;
  readonly origin: string | null;
  readonly generation: number | null;
  /** The full limit, in USD. */
  readonly limit: number | null;
  /** The limit that the key has until `limitRestoreAt`; `limit` if that is not lowered. */
  readonly limitNow: number | null;
  readonly limitRestoreAt: Timestamp | null;
  readonly limitReset: string | null;
  readonly expiresAt: string | null;
  /** Whether OpenRouter accepted the new key. */
  readonly verified: boolean;
  readonly restrictions: CarriedRestrictions | null;
  readonly previous: RotatedPrevious | null;
  readonly warnings: readonly Warning[];
  readonly error: KeyctlError | null;
}

export function rotateFailed(userId: string, error: KeyctlError): RotateResult {
  return {
    userId: repeatableId(userId),
    key: null,
    keyHash: null,
    origin: null,
    generation: null,
    limit: null,
    limitNow: null,
    limitRestoreAt: null,
    limitReset: null,
    expiresAt: null,
    verified: false,
    restrictions: null,
    previous: null,
    warnings: [],
    error,
  };
}

/** What a rotation would do with a user's key; it changes nothing. `none`: `error` says why. */
export interface RotatePreview {
  readonly userId: string;
  readonly action: "rotate" | "none";
  /** The key that would be replaced; null without one. */
  readonly current: FormerKey | null;
  readonly warnings: readonly Warning[];
  readonly error: KeyctlError | null;
}

export function rotatePreviewFailed(userId: string, error: KeyctlError): RotatePreview {
  return { userId: repeatableId(userId), action: "none", current: null, warnings: [], error };
}

/** What is due now, and what is due for more than an hour. */
export interface DutyCounts {
  readonly retire: number;
  readonly overdueRetirements: number;
  readonly limits: number;
  readonly overdueLimits: number;
}

/** One due duty: a key whose grace is over, or a limit that is to be restored. */
export interface Duty {
  readonly kind: "retire" | "restore_limit";
  readonly userId: string;
  readonly keyHash: string | null;
  readonly dueAt: Timestamp;
  readonly done: boolean;
  readonly error: KeyctlError | null;
}
