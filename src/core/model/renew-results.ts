import type { KeyctlError } from "./errors.ts";
import { syncFailed } from "./results.ts";
import type { FormerKey, SyncedKey, SyncFailure } from "./results.ts";
import type { RotatedPrevious } from "./rotate-results.ts";
import type { Warning } from "./warning.ts";

/** Why a key was dead, by OpenRouter's word. `deleted`: the account of the management key has no such key. */
export type DeathCause = "deleted" | "expired" | "disabled";

/**
 * The key that a user has after a renewal. If `error` is null, there is a key. `renewed` is false with a key if that still
 * works, or had taken the place of another one; `previous` is the key that was replaced, and `reason` why.
 */
export type RenewResult =
  | (SyncedKey & {
      readonly renewed: boolean;
      readonly reason: DeathCause | null;
      readonly previous: RotatedPrevious | null;
    })
  | RenewFailure;

export type RenewFailure = SyncFailure & { readonly renewed: false; readonly reason: null; readonly previous: null };

export function renewFailed(userId: string, error: KeyctlError): RenewFailure {
  return { ...syncFailed(userId, error), renewed: false, reason: null, previous: null };
}

/** What a renewal would do with a user's key; it changes nothing. `none`: the key still works, or `error` says why. */
export interface RenewPreview {
  readonly userId: string;
  readonly action: "create" | "none";
  /** Why the key would be replaced. */
  readonly reason: DeathCause | null;
  readonly current: FormerKey | null;
  readonly warnings: readonly Warning[];
  readonly error: KeyctlError | null;
}

export function renewPreviewFailed(userId: string, error: KeyctlError): RenewPreview {
  return { ...syncFailed(userId, error), action: "none", reason: null, current: null };
}
