/**
 * keyctl as a library: the same store, sources and environment as the tool, with no output and no signal handlers.
 *
 *     const keys = await KeyManager.open();
 *     const { key, error } = await keys.syncAndGetKey("alice");
 *     if (error === null) use(key.reveal());
 */
import { compose } from "./compose.ts";
import { openConfig } from "./config/config.ts";
import { logLines, silent } from "./core/model/log-event.ts";
import type { Log } from "./core/model/log-event.ts";
import type { UserKeyCall, UserKeyResult, WithUserKeyOptions } from "./core/change/renew/with-user-key.ts";
import { KeyManager as Manager } from "./core/manager/manager.ts";
import type { MasterKeyNotices } from "./encryption/master-keys.ts";
import { toKeyctlError } from "./core/async/deadline.ts";
import { printable } from "./core/text/printable.ts";
import { syncFailed } from "./core/model/results.ts";
import { repeatableId } from "./core/model/user-id.ts";
import { OPTIONS } from "./library/check.ts";
import { OPEN } from "./library/open-options.ts";
import type { OpenOptions } from "./library/open-options.ts";
import { programManager } from "./library/program-manager.ts";
import { programText } from "./library/program-text.ts";
import { forProgram } from "./library/program-texts.ts";
import type { SyncResult } from "./core/model/results.ts";

export { ApiKey } from "./core/model/api-key.ts";
export { KeyctlError } from "./core/model/errors.ts";
export { isRefusedKey } from "./core/change/renew/refusal.ts";
export type { CallOutcome } from "./core/change/renew/refusal.ts";
export { renewalFields } from "./core/change/renew/with-user-key.ts";
export type { UserKeyCall, UserKeyResult, WithUserKeyOptions } from "./core/change/renew/with-user-key.ts";
export type { DeathCause, RenewFailure, RenewPreview, RenewResult } from "./core/model/renew-results.ts";
export type { CallOptions } from "./core/async/deadline.ts";
export type { Revoke } from "./core/change/purge-key.ts";
export type { Replace } from "./core/change/save-key.ts";
export type { SaveOptions } from "./core/change/save-with-check.ts";
export type { JournalOutcome } from "./core/copy/copy-journal.ts";
export type { BlockOutcome } from "./core/copy/copy-blocks.ts";
export type { HistoryOutcome } from "./core/copy/copy-history.ts";
export type { ImportEntry, ImportResult } from "./core/change/import-keys.ts";
export type { CopyOutcome, RowOutcome } from "./core/copy/copy-rows.ts";
export type {
  BulkOptions,
  CopyOptions,
  ImportOptions,
  EnsureOptions,
  HistoryQuery,
  LeakedOptions,
  PreviewProvisionOptions,
  PreviewPurgeOptions,
  PreviewSyncOptions,
  ProvisionManyOptions,
  ProvisionOptions,
  PurgeManyOptions,
  PurgeOptions,
  ReconcileOptions,
  RekeyOptions,
  RenewManyOptions,
  RenewOptions,
  RotateManyOptions,
  RotateOptions,
  SyncOptions,
  ValidateManyOptions,
} from "./core/manager/manager-options.ts";
export type { ErrorCode, ErrorDetails } from "./core/model/errors.ts";
export type { MaxFailures, RotateFilter } from "./core/change/rotate/rotate-many.ts";
export type {
  CarriedRestrictions,
  Duty,
  DutyCounts,
  NewLimit,
  RotatedPrevious,
  RotatePreview,
  RotateResult,
  RotateTask,
} from "./core/model/rotate-results.ts";
export type {
  KeyRecord,
  LastCheck,
  LimitDue,
  LimitReset,
  Previous,
  Renewal,
  Restrictions,
  Terms,
  Timestamp,
  Version,
} from "./core/model/key-record.ts";
export type { Actor, HistoryEvent, HistoryEventName } from "./core/model/history-event.ts";
export type { ExternalSource, Log, LogEvent, Source, StoredLocation } from "./core/model/log-event.ts";
export type { LeakedAction, LeakedResult } from "./core/model/leaked-results.ts";
export type { PartlyGiven } from "./core/model/partly-given.ts";
export type { WantedTerms } from "./core/model/provision-rules.ts";
export type {
  CheckedSaveResult,
  EnsureResult,
  Explanation,
  Forecast,
  FormerKey,
  ProvisionResult,
  PurgePreview,
  PurgeResult,
  SaveResult,
  Step,
  StepState,
  SyncFailure,
  SyncResult,
  SyncedKey,
  UnblockResult,
} from "./core/model/results.ts";
export type { Block, Tombstone } from "./core/model/tombstone.ts";
export type { Remedy, UnknownReason } from "./core/model/unknown-reason.ts";
export type { UserBatches, UserId } from "./core/model/user-id.ts";
export type { Attention, KeyTerms, Limits, UnknownVerdict, Verdict, Witness } from "./core/model/verdict.ts";
export type { Warning, WarningCode } from "./core/model/warning.ts";
export type { OnStep, WorkStep } from "./core/model/work-step.ts";
export type { Finding, FindingClass, ListedKey } from "./core/reconcile/finding.ts";
export type { PlanCounts } from "./core/reconcile/plan.ts";
export type { Reconciliation } from "./core/reconcile/reconciliation.ts";
export type { ProvisionPreview } from "./core/resolve/preview-provision.ts";
export type { SyncPreview } from "./core/resolve/preview-sync.ts";
export type { RekeyProgress, RekeyTask } from "./core/sealing/reseal-rows.ts";
export type { RowFailure } from "./core/sealing/row-inspector.ts";
export type { ValidateOptions, Validation } from "./core/validate/validate-key.ts";
export type { RunFacts, ValidationRun } from "./core/validate/validate-many.ts";

export type { OpenOptions } from "./library/open-options.ts";

/** Owns the keys of all users of one store; created by `KeyManager.open`. */
export type KeyManager = Manager;

export const KeyManager = {
  /**
   * Opens the store. The default store is created if it is missing; a named store must exist, unless `create` is set.
   * Rejects with a KeyctlError. A MongoDB server is first asked by the first call.
   */
  async open(options: OpenOptions = {}): Promise<Manager> {
    try {
      OPEN.pass(options, OPTIONS, "KeyManager.open");
      return programManager(await opened(options));
    } catch (thrown) {
      throw forProgram(toKeyctlError(thrown));
    }
  },
};

async function opened(options: OpenOptions): Promise<Manager> {
  const { log = "silent", create, reason, ...overrides } = options;
  const config = await openConfig(process.env, { ...overrides, createStore: create });
  const { manager, storeWarnings } = await compose(
    config,
    { log: listenerFor(log), notices: noticesFor(log) },
    {
      mayCreateStore: true,
      creates: config.createStore,
      creation: "create: true   creates it, and so does KEYCTL_CREATE_STORE=1",
      detaches: true,
      reason,
      signal: AbortSignal.timeout(config.timeoutMs),
    },
  );
  if (log === "stderr") {
    for (const { message } of storeWarnings) process.stderr.write(`warning: ${programText(message)}\n`);
  }
  return manager;
}

let shared: Promise<Manager> | undefined;

/** As `KeyManager.syncAndGetKey`, with one manager for the whole process. A failure to open it is in `error`, too. */
export async function syncUserApiKey(userId: string): Promise<SyncResult> {
  try {
    return await (await sharedManager()).syncAndGetKey(userId);
  } catch (thrown) {
    return syncFailed(repeatableId(userId), toKeyctlError(thrown));
  }
}

/**
 * The user's bare key, for use in a request. Null only if there is no key for this user (NO_KEY); any other failure
 * rejects with a KeyctlError.
 */
export async function getUserApiKey(userId: string): Promise<string | null> {
  const { key, error } = await syncUserApiKey(userId);
  if (error !== null && error.code !== "NO_KEY") throw error;
  return key?.reveal() ?? null;
}

/** As `KeyManager.withUserKey`, with one manager for the whole process. */
export async function withUserKey<Value>(
  userId: string,
  call: UserKeyCall<Value>,
  options: WithUserKeyOptions<Value> = {},
): Promise<UserKeyResult<Value>> {
  return (await sharedManager()).withUserKey(userId, call, options);
}

async function sharedManager(): Promise<Manager> {
  shared ??= KeyManager.open();
  try {
    return await shared;
  } catch (thrown) {
    shared = undefined;
    throw thrown;
  }
}

/** Written to stderr as the tool does, with `log: "stderr"` only. */
function noticesFor(log: "silent" | "stderr" | Log): MasterKeyNotices {
  const say = (line: string) => {
    if (log === "stderr") process.stderr.write(`${line}\n`);
  };
  return {
    generated: (path) => say(`note: created the first master key: ${printable(path)}; back it up`),
    added: (path) => say(`note: added a new master key in front of those in ${printable(path)}; back it up`),
    guessable: (kid, place) =>
      say(`warning: master key ${printable(kid)} in ${printable(place)} follows a pattern, and anybody can guess it`),
    readableByOthers: ({ message }) => say(`warning: ${printable(message)}`),
  };
}

function listenerFor(log: "silent" | "stderr" | Log): Log {
  if (typeof log === "function") return log;
  if (log === "silent") return silent;
  return (event) => process.stderr.write(`${logLines(event).join("\n")}\n`);
}
