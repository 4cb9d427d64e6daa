import type { CallOptions } from "./async/deadline.ts";
import type { ValidateOptions } from "./validate/validate-key.ts";
import type { Revoke } from "./change/purge-key.ts";
import type { Warning } from "./model/warning.ts";
import type { RekeyTask } from "./sealing/reseal-rows.ts";
import type { Context } from "./context.ts";
import type { SealingSetup } from "./sealing/verify-master-keys.ts";
import type { OnOvertime } from "./protocol/shared-user-runs.ts";
import type { WantedTerms } from "./model/provision-rules.ts";

export interface SyncOptions extends CallOptions {
  /** Whether a key may be made when there is none. Default: as the manager was opened. */
  readonly autoProvision?: boolean | undefined;
}

export interface ProvisionOptions extends CallOptions {
  /** What the key may do; what is not said is as KEYCTL_PROVISION_… say. */
  readonly terms?: Partial<WantedTerms> | undefined;
}

export interface EnsureOptions extends SyncOptions {
  /** Ask OpenRouter whether the key works, and note a definite answer in the database. Default false. */
  readonly validate?: boolean | undefined;
}

export interface ValidateManyOptions extends ValidateOptions {
  /** How many keys are asked about at a time. Default 20. */
  readonly concurrency?: number | undefined;
  /** A definite verdict that is younger than this is taken over, in milliseconds. */
  readonly notValidatedSinceMs?: number | undefined;
  /** Judge by the list of all keys, and ask only about those that are not on it. Default false. */
  readonly fromListing?: boolean | undefined;
  /** The run is to end cleanly: what is under way has no result. */
  readonly stop?: AbortSignal | undefined;
}

export interface PurgeOptions extends CallOptions {
  /** Only the key with this hash: CONFLICT when another one is there by now. */
  readonly onlyHash?: string | null | undefined;
  /**
   * Also remove it at OpenRouter: `ours` if keyctl made it, or whoever made it; and with it every other key that keyctl made
   * for this user. Default `no`.
   */
  readonly revoke?: Revoke | undefined;
}

/** Of many users, or of what would be purged. */
export interface PurgeManyOptions extends Omit<PurgeOptions, "onlyHash"> {
  /** Told once, after the last result, where what was purged is still on the disk. */
  readonly onStillOnDisk?: ((warning: Warning) => void) | undefined;
}

export interface PreviewPurgeOptions extends PurgeManyOptions {
  /** Whether to find out what the next sync does; without that, `returnsFrom` is empty. Default true. */
  readonly looksAhead?: boolean | undefined;
}

export interface BulkOptions extends CallOptions {
  /** Whether a key is created for each user who has none; the hourly cap does not count these. Default false. */
  readonly provision?: boolean | undefined;
  /** Creates at most so many keys; a user who is left without one ends with PROVISION_CAP. Default: any number. */
  readonly maxKeys?: number | undefined;
  /** One user after the other, each with their log lines. Default false. */
  readonly logged?: boolean | undefined;
  /** Begins no more keys, and ends those in flight; users that were not come to have no result. */
  readonly stop?: AbortSignal | undefined;
  /** `stored`: read the database only; `known`: save nothing, but say which sources hold another key. Default `sources`. */
  readonly reach?: "stored" | "known" | "sources" | undefined;
}

export type PreviewSyncOptions = Pick<BulkOptions, "provision" | "reach" | "maxKeys"> & CallOptions;

export type PreviewProvisionOptions = ProvisionOptions & Pick<BulkOptions, "maxKeys">;

export interface ProvisionManyOptions extends ProvisionOptions, Pick<BulkOptions, "maxKeys" | "stop"> {
  /** How many keys are created at the same time. Default 8. */
  readonly concurrency?: number | undefined;
}

export interface ReconcileOptions extends CallOptions {
  /** Only this user. Default all. */
  readonly userId?: string | undefined;
  /** `fix` is to follow, so that keys which wait in files may be brought in. Default false. */
  readonly fixes?: boolean | undefined;
  /** First binds the store to the account of the management key, whatever it was bound to. Default false. */
  readonly adoptAccount?: boolean | undefined;
}

export interface RekeyOptions extends CallOptions, Partial<RekeyTask> {}

export interface CopyOptions extends CallOptions {
  /** Say what would be copied, and write nothing. Default false. */
  readonly dryRun?: boolean | undefined;
}

/** What a manager works with. */
export interface ManagerContext extends Context {
  readonly lock: SealingSetup;
  readonly autoProvision: boolean;
  /** Where a key may be made, in place of `timeoutMs`. */
  readonly makingTimeoutMs: number;
  /** Who stops waiting for a key that is being made leaves it to itself; else its end is waited for. */
  readonly detaches: boolean;
  readonly onOvertime?: OnOvertime | undefined;
}
