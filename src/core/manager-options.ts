import type { CallOptions } from "./async/deadline.ts";
import type { Replace } from "./change/save-key.ts";
import type { Limits } from "./model/verdict.ts";
import type { RunOptions } from "./validate/validate-many.ts";
import type { NextSync } from "./resolve/next-sync.ts";
import type { PurgeTask } from "./change/purge-key.ts";
import type { UpstreamSnapshot } from "./reconcile/upstream-snapshot.ts";
import type { RekeyTask } from "./sealing/reseal-rows.ts";
import type { Context } from "./context.ts";
import type { SealingSetup } from "./sealing/verify-master-keys.ts";
import type { OnOvertime } from "./protocol/provisioning-flight.ts";
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

export interface SaveOptions extends CallOptions {
  /** How the key came here, kept in the row. Default `manual`. */
  readonly source?: string | undefined;
  /** Which other key may be replaced: none, any, or the one with this hash. */
  readonly replace?: Replace | undefined;
  /** Ask OpenRouter first, and store only what is valid. Default false. */
  readonly validate?: boolean | undefined;
  /** Also remove the replaced key at OpenRouter, if keyctl made it. Default false. */
  readonly revoke?: boolean | undefined;
}

/** What is a worry about a key that works; without them, only a key's own end or limit is none. */
export interface ValidateOptions extends CallOptions, Limits {}

export interface ValidateManyOptions
  extends ValidateOptions, Partial<Pick<RunOptions, "concurrency" | "fromListing" | "notValidatedSinceMs" | "stop">> {}

export interface PurgeOptions extends CallOptions {
  /** Only the key with this hash: CONFLICT when another one is there by now. */
  readonly onlyHash?: string | null | undefined;
  /**
   * Also remove it at OpenRouter: `ours` if keyctl made it, or whoever made it; and with it every other key that keyctl made
   * for this user. Default `no`.
   */
  readonly revoke?: PurgeTask["revoke"] | undefined;
}

export interface PreviewPurgeOptions extends Pick<PurgeOptions, "revoke">, CallOptions {
  /** Whether to find out what the next sync does; without that, `returnsFrom` is empty. Default true. */
  readonly looksAhead?: boolean | undefined;
}

/** All purges of a run read the list of all keys once, and ask once what is in the way of the next sync. */
export interface PurgeBatch {
  nextSync?: NextSync;
  inventory?: Promise<UpstreamSnapshot>;
}

export interface BulkOptions extends CallOptions {
  /** Whether a key is created for each user who has none; the hourly cap does not count these. Default false. */
  readonly provision?: boolean | undefined;
  /** Creates at most so many keys; a user who is left without one ends with PROVISION_CAP. Default: any number. */
  readonly maxKeys?: number | undefined;
  /** One user after the other, each with their log lines. Default false. */
  readonly logged?: boolean | undefined;
  /** `stored`: read the database only; `known`: save nothing, but say which sources hold another key. Default `sources`. */
  readonly reach?: "stored" | "known" | "sources" | undefined;
}

export interface ProvisionManyOptions extends ProvisionOptions, Pick<BulkOptions, "maxKeys"> {
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

export interface ManagerContext extends Omit<Context, "account"> {
  readonly lock: SealingSetup;
  readonly autoProvision: boolean;
  /** For each user, in milliseconds. */
  readonly timeoutMs: number;
  /** Where a key may be made. */
  readonly makingTimeoutMs: number;
  /** Who stops waiting for a key that is being made leaves it to itself; else its end is waited for. */
  readonly detaches: boolean;
  readonly onOvertime?: OnOvertime | undefined;
}
