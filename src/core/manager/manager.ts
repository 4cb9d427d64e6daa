import type { CallOptions } from "../async/deadline.ts";
import { onFirstUse } from "../async/memoize.ts";
import type { SaveOptions } from "../change/save-with-check.ts";
import type { ImportEntry } from "../change/import-keys.ts";
import type { UserKeyCall, WithUserKeyOptions } from "../change/renew/with-user-key.ts";
import type { BulkOptions, CopyOptions, EnsureOptions, ImportOptions, ManagerContext } from "./manager-options.ts";
import type { HistoryParts, HistoryQuery, LeakedOptions } from "./manager-options.ts";
import type { PreviewProvisionOptions, PreviewPurgeOptions, PreviewSyncOptions } from "./manager-options.ts";
import type { ProvisionManyOptions, ProvisionOptions, PurgeManyOptions, PurgeOptions } from "./manager-options.ts";
import type { ReconcileOptions, RekeyOptions, RenewManyOptions, RenewOptions } from "./manager-options.ts";
import type { RotateManyOptions, RotateOptions, SyncOptions, ValidateManyOptions } from "./manager-options.ts";
import { historyOnUse } from "../history/history-on-use.ts";
import type { ApiKey } from "../model/api-key.ts";
import type { HistoryEvent } from "../model/history-event.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { isThere } from "../model/management-key.ts";
import type { WantedTerms } from "../model/provision-rules.ts";
import { termsFor } from "../model/provision-terms.ts";
import type { PurgeResult, SaveResult, SyncResult, SyncedKey } from "../model/results.ts";
import type { Tombstone } from "../model/tombstone.ts";
import { parsedBatches } from "../model/user-id.ts";
import type { UserBatches } from "../model/user-id.ts";
import type { Warning } from "../model/warning.ts";
import { ChangingCalls } from "./changing-calls.ts";
import { ResolvingCalls } from "./resolving-calls.ts";
import { contextFor, eventsOf, noteRevealed } from "./event-calls.ts";
import { ValidatingCalls } from "./validating-calls.ts";
import { checkStore, openMasterKeys } from "./checks.ts";
import { OpenWork } from "../open-work.ts";
import { accountOnUse } from "../protocol/lazy-account.ts";
import type { ValidateOptions, Validation } from "../validate/validate-key.ts";

/**
 * Owns the keys of all users of one store. A method that returns a result puts every expected failure into its `error`
 * and rejects only for a bug.
 */
export class KeyManager {
  readonly #context: ManagerContext;
  readonly #work: OpenWork;
  readonly #resolving: ResolvingCalls;
  readonly #validating: ValidatingCalls;
  readonly #changing: ChangingCalls;

  /** @internal Created by `KeyManager.open`. */
  constructor(context: Omit<ManagerContext, "account" | "history"> & HistoryParts) {
    this.#context = { ...context, account: accountOnUse(context), history: historyOnUse(context) };
    this.#work = new OpenWork(this.#context);
    this.#resolving = new ResolvingCalls(this.#context, this.#work);
    this.#validating = new ValidatingCalls(this.#context, this.#work);
    this.#changing = new ChangingCalls(this.#context, this.#work);
  }

  /** Finds the user's key, or creates one if that is allowed, and stores it. Concurrent calls for one user share one run. */
  async syncAndGetKey(userId: string, options: SyncOptions = {}): Promise<SyncResult> {
    const { autoProvision = this.#context.autoProvision, ...call } = options;
    return this.#resolving.sync(userId, { autoProvision, isDeliberate: false }, call);
  }

  /** Creates a key for a user without one, whatever key.txt and the environment hold; else KEY_EXISTS. */
  async autoProvisionKey(userId: string, options: ProvisionOptions = {}) {
    return this.#resolving.provision(userId, options);
  }

  /** The user's key and, with `validate`, whether it works: else it comes with KEY_INVALID or VERDICT_UNKNOWN. */
  async ensureKeyForUser(userId: string, options: EnsureOptions = {}) {
    return this.#validating.ensured(await this.syncAndGetKey(userId, options), options);
  }

  /** Asks OpenRouter whether the key in the database works, and records a definite answer. Saves and creates no key. */
  async validate(userId: string, options: ValidateOptions = {}): Promise<Validation> {
    return this.#validating.stored(userId, options);
  }

  /** As `validate`, for a key that was just found: CONFLICT if the database holds another one now. */
  async validateFound(found: SyncedKey, options: ValidateOptions = {}): Promise<Validation> {
    return this.#validating.found(found, options);
  }

  /** As `validate`, for this bare key, without the database: `userId` is null. Else BAD_KEY_FORMAT or KEY_IS_MASKED. */
  async validateKeyWithApi(key: string | ApiKey, options: ValidateOptions = {}): Promise<Validation> {
    return this.#validating.given(key, options);
  }

  /** Validates the keys of many users. Rejects with USAGE, and with MANAGEMENT_KEY_MISSING for a listing. */
  async validateMany(options: ValidateManyOptions = {}) {
    return (await this.#bulk()).validateMany(options);
  }

  /** The user's key in the database: key.txt and the environment are not read, and no key is written. */
  async getStoredKey(userId: string, options: CallOptions = {}): Promise<SyncResult> {
    return this.#resolving.stored(userId, options);
  }

  /** Every source in the order of the search, the winner, and what `syncAndGetKey` would do; writes nothing. */
  async explain(userId: string, options: SyncOptions = {}) {
    return this.#resolving.explain(userId, options);
  }

  /**
   * Stores this key for the user, and replaces any key that the user has.
   * @param key the bare key; else BAD_KEY_FORMAT, KEY_IS_MASKED or, for a management key, MANAGEMENT_KEY_AS_USER_KEY
   * @param source the origin of the key: 1 to 32 letters, digits, dots, dashes or underscores
   */
  async saveKeyToDb(userId: string, key: string | ApiKey, source?: string, options?: CallOptions): Promise<SaveResult> {
    return this.save(userId, key, { ...options, source, replace: "any" });
  }

  /** As `saveKeyToDb`, but replaces another key only as `replace` allows; else KEY_EXISTS or CONFLICT. */
  async save(userId: string, key: string | ApiKey, options: SaveOptions = {}) {
    return this.#changing.save(userId, key, options);
  }

  /** Deletes the user's key from the database and, with `revoke`, at OpenRouter. */
  async purge(userId: string, options: PurgeOptions = {}): Promise<PurgeResult> {
    return this.#changing.purge(userId, options);
  }

  /** As `purge`, one user after the other. With `revoke`, deletions at OpenRouter are confirmed together. */
  async *purgeMany(batches: UserBatches, options: PurgeManyOptions = {}) {
    yield* this.#changing.purgeMany(parsedBatches(batches), options);
  }

  /** As `purge` with `block`: from its return to an `unblock`, no key is stored for this user or handed out. */
  async block(userId: string, options: Omit<PurgeOptions, "block"> = {}): Promise<PurgeResult> {
    return this.purge(userId, { ...options, block: true });
  }

  /** Lifts the block of a user; brings no key back. */
  async unblock(userId: string, options: CallOptions = {}) {
    return this.#changing.unblock(userId, options);
  }

  /** The blocked users, in the order of the user ids, in constant memory. */
  blockedUsers(options: CallOptions = {}): AsyncIterable<Tombstone> {
    return this.#context.store.scanBlocked(this.#work.newSignal(options));
  }

  /** The keys that a purge of this user would remove with the same `revoke`; changes nothing. */
  async previewPurge(userId: string, options: PreviewPurgeOptions = {}) {
    return this.#changing.previewPurge(userId, options);
  }

  /** As `previewPurge`, one user after the other. Throws a failure that concerns all users. */
  async *previewPurgeMany(batches: UserBatches, options: PreviewPurgeOptions = {}) {
    yield* this.#changing.previewPurgeMany(parsedBatches(batches), options);
  }

  /** Replaces the user's key by a new one with its terms and restrictions. The old key goes on working for the grace. */
  async rotate(userId: string, options: RotateOptions = {}) {
    return this.#work.loaded(this.#rotating, (calls) => calls.rotate(userId, options));
  }

  /** As `rotate`, for the users whose keys the options select. Throws a failure that concerns all users. */
  async *rotateMany(batches: UserBatches, options: RotateManyOptions = {}) {
    yield* (await this.#rotating()).rotateMany(parsedBatches(batches), options);
  }

  /** What `rotateMany` would do for each user; changes nothing. */
  async *previewRotateMany(batches: UserBatches, options: RotateManyOptions = {}) {
    yield* (await this.#rotating()).previewMany(parsedBatches(batches), options);
  }

  /** Removes the keys whose grace is over, and restores the limits whose time has come. Yields what it did or could not do. */
  async *finishDue(options: CallOptions = {}) {
    yield* (await this.#rotating()).finishDue(options);
  }

  /** How much `finishDue` would find, and what of it is due for more than an hour. */
  async dueDuties(options: CallOptions = {}) {
    return this.#work.loaded(this.#rotating, (calls) => calls.dueDuties(options));
  }

  /** Replaces the user's key by a new one with its terms, if OpenRouter confirms that it is dead. */
  async renew(userId: string, options: RenewOptions = {}) {
    return this.#work.loaded(this.#renewing, (calls) => calls.renew(userId, options));
  }

  /** As `renew`, for many users, several at once. Throws a failure that concerns all users. */
  async *renewMany(batches: UserBatches, options: RenewManyOptions = {}) {
    yield* (await this.#renewing()).renewMany(parsedBatches(batches), options);
  }

  /** What `renewMany` would do for each user; asks OpenRouter about each key and changes nothing. */
  async *previewRenewMany(batches: UserBatches, options: RenewManyOptions = {}) {
    yield* (await this.#renewing()).previewMany(parsedBatches(batches), options);
  }

  /** Makes a call with the user's key. If the key is refused and confirmed to be dead, renews it and repeats the call once. */
  async withUserKey<Value>(userId: string, call: UserKeyCall<Value>, options: WithUserKeyOptions<Value> = {}) {
    return this.#work.loaded(this.#renewing, (calls) => calls.withUserKey(userId, call, options));
  }

  /** Disables a key that leaked (its text or SHA-256), then gives its user a new one if keyctl created it. */
  async leaked(keyOrHash: string | ApiKey, options: LeakedOptions = {}) {
    return this.#changing.leaked(keyOrHash, options);
  }

  /** Compares all keys at OpenRouter with all that is stored. `plan` of the returned object reports the findings. */
  async reconcile(options: ReconcileOptions = {}) {
    return (await this.#bulk()).reconcile(options);
  }

  /** Resolves many users. Results are yielded after their commit. Keys are created only with `provision`. */
  async *syncMany(batches: UserBatches, options: BulkOptions = {}) {
    yield* (await this.#bulk()).syncMany(parsedBatches(batches), options);
  }

  /** What `syncAndGetKey` would do, and the source of the key; changes nothing. */
  async previewSync(userId: string, options: SyncOptions = {}) {
    return this.#resolving.previewSync(userId, options);
  }

  /** What `syncMany` would do for each user; changes nothing. */
  async *previewSyncMany(batches: UserBatches, options: PreviewSyncOptions = {}) {
    yield* (await this.#bulk()).previewSyncMany(parsedBatches(batches), options);
  }

  /** As `autoProvisionKey`, for many users, several at once. Throws a failure that concerns all users. */
  async *provisionMany(batches: UserBatches, options: ProvisionManyOptions = {}) {
    yield* (await this.#bulk()).provisionMany(parsedBatches(batches), options);
  }

  /** What `provisionMany` would do for each user; creates nothing. */
  async *previewProvisionMany(batches: UserBatches, options: PreviewProvisionOptions = {}) {
    yield* (await this.#bulk()).previewProvisionMany(parsedBatches(batches), options);
  }

  /** Stores the keys of users who have none; other keys stay. One result for each entry, in order, after its commit. */
  async *importKeys(batches: AsyncIterable<readonly ImportEntry[]>, options: ImportOptions = {}) {
    yield* (await this.#bulk()).importKeys(batches, options);
  }

  /** Seals every row with a new or the active master key. Yields progress; the next call continues a stopped run. */
  async *rekey(options: RekeyOptions = {}) {
    yield* (await this.#bulk()).rekey(options);
  }

  /** Copies the journal, then every row that the destination lacks, and verifies each. Continues a stopped run. */
  async *copyTo(destination: KeyManager, options: CopyOptions = {}) {
    yield* (await this.#bulk()).copyTo(destination.#context, options);
  }

  /** What happened to keys, newest first, in constant memory: masks and hashes only. Throws USAGE and BAD_USER_ID. */
  history(query: HistoryQuery = {}, options: CallOptions = {}): AsyncIterable<HistoryEvent> {
    return eventsOf(query, options, this.#context, this.#work);
  }

  /** Warnings that no result has reported, for the end of a run whose results have none. */
  takeWarnings(): readonly Warning[] {
    return this.#work.takeWarnings();
  }

  /** Notes that these bare keys were handed out, as `get --reveal` of many does. Returns a warning if it could not. */
  async noteRevealed(found: readonly SyncResult[], options: CallOptions = {}): Promise<readonly Warning[]> {
    return this.#work.track(options, () => noteRevealed(found, contextFor(this.#context, options)));
  }

  /** Whether there is a management key; false if it cannot be read. */
  hasManagementKey(): boolean {
    return isThere(this.#context.hasManagementKey);
  }

  /** The terms of a new key: `given`, else KEYCTL_PROVISION_…. Throws USAGE, CONFIG_EMPTY, CONFIG_INVALID. */
  provisionTerms(given: ProvisionOptions["terms"] = {}): WantedTerms {
    return termsFor(this.#context.provisioning, given);
  }

  /** Every row in the order of the user ids, unopened, in constant memory; with a hash, only the rows of that key. */
  rows(options: CallOptions = {}, keyHash?: string): AsyncIterable<KeyRecord> {
    return this.#context.store.scan(this.#work.newSignal(options), keyHash);
  }

  /** The number of rows: one for each user with a key, except that other programs may create a second row. */
  async count(options: CallOptions = {}): Promise<number> {
    return this.#work.track(options, (signal) => this.#context.store.count(signal));
  }

  /** Rejects with MASTER_KEY_MISSING or MASTER_KEY_WRONG unless the master keys open the store; writes nothing. */
  async requireMasterKeys(options: CallOptions = {}): Promise<void> {
    return this.#work.track(options, (signal) => openMasterKeys(this.#context, signal));
  }

  /** Rejects unless the store answers and the master keys open it. Gives a new embedded store its first master key. */
  async check(options: CallOptions = {}): Promise<void> {
    return this.#work.track(options, (signal) => checkStore(this.#context, signal));
  }

  /** Waits for calls in flight, then closes the store. */
  async close(): Promise<void> {
    return this.#work.close(this.#context);
  }

  #bulk = async () => new (await import("./bulk-runs.ts")).BulkRuns(this.#context, this.#work, this.#resolving);

  #renewing = onFirstUse(
    async () => new (await import("./renewing-calls.ts")).RenewingCalls(this.#context, this.#work, this.#resolving),
  );

  #rotating = async () => new (await import("./rotating-calls.ts")).RotatingCalls(this.#context, this.#work);
}
