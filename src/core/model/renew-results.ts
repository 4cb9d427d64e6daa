import type { KeyctlError } from "./errors.ts";
import { syncFailed } from "./results.ts";
import type { FormerKey, SyncedKey, SyncFailure } from "./results.ts";
import type { RotatedPrevious } from "./rotate-results.ts";
import type { Warning } from "./warning.ts";

interface RenewalOfKey {
  /** False with a key: the key still works, or another one had taken its place. */
  readonly renewed: boolean;
  /** The key that was replaced; null unless `renewed`. */
  readonly previous: RotatedPrevious | null;
}

/** The key that a user has after a renewal. If `error` is null, there is a key. */
export type RenewResult = (SyncedKey & RenewalOfKey) | RenewFailure;

export type RenewFailure = SyncFailure & { readonly renewed: false; readonly previous: null };

export function renewFailed(userId: string, error: KeyctlError): RenewFailure {
  return { ...syncFailed(userId, error), renewed: false, previous: null };
}

/** What a renewal would do with a user's key; it changes nothing. `none`: the key still works, or `error` says why. */
export interface RenewPreview {
  readonly userId: string;
  readonly action: "create" | "none";
  readonly current: FormerKey | null;
  readonly warnings: readonly Warning[];
  readonly error: KeyctlError | null;
}

export function renewPreviewFailed(userId: string, error: KeyctlError): RenewPreview {
  return { ...syncFailed(userId, error), action: "none", current: null };
}
