import type { CallOptions } from "../async/deadline.ts";
import type { ValidateOptions } from "../validate/validate-key.ts";
import type { Revoke } from "../change/purge-key.ts";
import type { Warning } from "../model/warning.ts";
import type { RekeyTask } from "../sealing/reseal-rows.ts";
import type { Context } from "../context.ts";
import type { Actor } from "../model/history-event.ts";
import type { HistoryOnUse } from "../ports/history.ts";
import type { SealingSetup } from "../sealing/verify-master-keys.ts";
import type { OnOvertime } from "../protocol/shared-user-runs.ts";
import type { LeakedResult } from "../model/leaked-results.ts";
import type { RotateTask } from "../model/rotate-results.ts";
import type { MaxFailures, RotateFilter } from "../change/rotate/rotate-many.ts";
import type { PartlyGiven } from "../model/partly-given.ts";
import type { WantedTerms } from "../model/provision-rules.ts";
import type { OnStep } from "../model/work-step.ts";

export interface SyncOptions extends CallOptions {
  /** Whether a key may be created for a user without one. Default: the setting of the manager. */
  readonly autoProvision?: boolean | undefined;
}

export interface ProvisionOptions extends CallOptions {
  /** The terms of the key; KEYCTL_PROVISION_… set the rest. */
  readonly terms?: PartlyGiven<WantedTerms> | undefined;
}

export interface EnsureOptions extends SyncOptions {
  /** Ask OpenRouter whether the key works, and record a definite answer in the database. Default false. */
  readonly validate?: boolean | undefined;
}

export interface ValidateManyOptions extends ValidateOptions {
  /** How many keys are checked at once. Default 20. */
  readonly concurrency?: number | undefined;
  /** A definite verdict that is younger than this is reused, in milliseconds. */
  readonly notValidatedSinceMs?: number | undefined;
  /** Take verdicts from the list of all keys, and check only keys that are not listed. Default false. */
  readonly fromListing?: boolean | undefined;
  /** Ends the run without an error. Checks in flight have no result. */
  readonly stop?: AbortSignal | undefined;
}

export interface PurgeOptions extends CallOptions {
  /** Only the key with this hash: CONFLICT if the user has another key now. */
  readonly onlyHash?: string | null | undefined;
  /**
   * Whether the key is also deleted at OpenRouter: `ours` if keyctl created it, `foreign too` in any case. Every other
   * key that keyctl created for this user is deleted with it. Default `no`.
   */
  readonly revoke?: Revoke | undefined;
  /** Also blocks the user: no key is stored until `unblock`. Default false. */
  readonly block?: boolean | undefined;
}

/** Options for many users, or for a preview. */
export interface PurgeManyOptions extends Omit<PurgeOptions, "onlyHash"> {
  /** Called after the last result if purged data is still on the disk. */
  readonly onStillOnDisk?: ((warning: Warning) => void) | undefined;
}

export interface PreviewPurgeOptions extends PurgeManyOptions {
  /** Whether to predict the next sync. If false, `returnsFrom` is empty. Default true. */
  readonly looksAhead?: boolean | undefined;
}

export interface BulkOptions extends CallOptions {
  /** Whether a key is created for each user without one. The hourly cap does not count these keys. Default false. */
  readonly provision?: boolean | undefined;
  /** The maximum number of keys to create. A user who is left without a key gets PROVISION_CAP. Default: any number. */
  readonly maxKeys?: number | undefined;
  /** How many keys are created at once. Default 8. */
  readonly concurrency?: number | undefined;
  /** Resolves one user after the other, each with its log lines. Default false. */
  readonly logged?: boolean | undefined;
  /** Begins no further creation and finishes those in flight. Users who were not reached have no result. */
  readonly stop?: AbortSignal | undefined;
  /** `stored`: read only the database. `known`: save nothing, report sources with another key. Default `sources`. */
  readonly reach?: "stored" | "known" | "sources" | undefined;
}

export type PreviewSyncOptions = Pick<BulkOptions, "provision" | "reach" | "maxKeys"> & CallOptions;

export interface PreviewProvisionOptions extends ProvisionOptions, Pick<BulkOptions, "maxKeys"> {
  /** A user who has a key gets KEY_EXISTS, as from `autoProvisionKey`. Default false. */
  readonly refusesExisting?: boolean | undefined;
}

export type ProvisionManyOptions = ProvisionOptions & Pick<BulkOptions, "maxKeys" | "stop" | "concurrency">;

export interface RotateOptions extends CallOptions, PartlyGiven<RotateTask> {}

export interface RotateManyOptions
  extends RotateOptions, Pick<BulkOptions, "maxKeys" | "stop">, PartlyGiven<RotateFilter> {
  /** How many keys are rotated at once. Default 20. */
  readonly concurrency?: number | undefined;
  /** How many users are begun a second at most. Default: any number. */
  readonly ratePerSecond?: number | undefined;
  /** The run ends when so many rotations failed, or this share of those that ended. Default: never. */
  readonly maxFailures?: MaxFailures | undefined;
}

export interface RenewOptions extends CallOptions {
  /** Whether a key that is disabled at OpenRouter is replaced: somebody may have disabled it on purpose. Default false. */
  readonly includeDisabled?: boolean | undefined;
}

export type RenewManyOptions = RenewOptions & Pick<BulkOptions, "maxKeys" | "stop" | "concurrency">;

export interface LeakedOptions extends CallOptions {
  /** Usage is counted from the day of this time on, by UTC. Default: as far back as OpenRouter tells, 30 days. */
  readonly since?: Date | undefined;
  /** Only say what would be done. Default false. */
  readonly dryRun?: boolean | undefined;
  /** Only disable the key: of many keys, all are disabled before the first one is replaced. Default false. */
  readonly disableOnly?: boolean | undefined;
  /** The result of the call with `disableOnly` that this call goes on from. */
  readonly after?: LeakedResult | undefined;
}

export interface ReconcileOptions extends CallOptions {
  /** Only this user. Default: all users. */
  readonly userId?: string | undefined;
  /** `fix` will follow, so spooled keys may be imported first. Default false. */
  readonly fixes?: boolean | undefined;
  /** Also removes keys that were purged or replaced and left alive. Default false. */
  readonly includeKept?: boolean | undefined;
  /** First binds the store to the account of the management key, whatever it was bound to. Default false. */
  readonly adoptAccount?: boolean | undefined;
  /** Told how far the comparison is. */
  readonly onStep?: OnStep | undefined;
}

export interface RekeyOptions extends CallOptions, PartlyGiven<RekeyTask> {}

export interface ImportOptions extends CallOptions {
  /** Report what would be imported, and write nothing. Default false. */
  readonly dryRun?: boolean | undefined;
}

export interface CopyOptions extends CallOptions {
  /** Report what would be copied, and write nothing. Default false. */
  readonly dryRun?: boolean | undefined;
}

/** Which events of the history; the conditions hold together. */
export interface HistoryQuery {
  readonly userId?: string | undefined;
  /** The SHA-256 of a key. */
  readonly keyHash?: string | undefined;
  /** Only events from this time on. */
  readonly since?: Date | undefined;
}

/** What a manager's notes say besides the change. */
export interface HistoryParts {
  readonly actor: () => Promise<Actor>;
  /** Of every call without a reason of its own. */
  readonly reason: string | null;
}

export interface ManagerContext extends Context {
  readonly history: HistoryOnUse;
  readonly lock: SealingSetup;
  readonly autoProvision: boolean;
  /** The time limit of a call that may create a key, instead of `timeoutMs`; in milliseconds. */
  readonly makingTimeoutMs: number;
  /** True: a key whose caller stops waiting is finished in the background. False: the caller waits for its end. */
  readonly detaches: boolean;
  readonly onOvertime?: OnOvertime | undefined;
  /** How long an old key goes on working after a rotation, in milliseconds. Throws CONFIG_EMPTY, CONFIG_INVALID. */
  readonly rotateGraceMs: () => number;
}
