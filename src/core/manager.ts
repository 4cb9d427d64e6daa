import { ApiKey } from "./model/api-key.ts";
import type { PurgeCompletion, Purge } from "./change/purge-key.ts";
import { isKeyctlError, KeyctlError, RUN_FATAL_CODES } from "./model/errors.ts";
import { raceSignalWithGrace } from "./async/single-flight.ts";
import type { KeyRecord } from "./model/key-record.ts";
import { ProvisioningFlights } from "./protocol/provisioning-flight.ts";
import type { Stage } from "./protocol/provisioning-flight.ts";
import { isManagementKey, isThere, managementKeyMissing } from "./model/management-key.ts";
import { checkedNumber, MOST_AT_ONCE } from "./model/number-options.ts";
import { toKeyctlError, deadlineSignal } from "./async/deadline.ts";
import type { CallOptions } from "./async/deadline.ts";
import { KeyBudget } from "./resolve/key-budget.ts";
import type { ProvisionPreview } from "./resolve/preview-provision.ts";
import type { NextSync } from "./resolve/next-sync.ts";
import type { SyncPreview } from "./resolve/preview-sync.ts";
import { resolve } from "./resolve/resolve-key.ts";
import type { Reconciliation } from "./reconcile/reconciliation.ts";
import { HIGHEST_LIMIT, termsFor } from "./model/provision-terms.ts";
import type { ResolveOptions } from "./resolve/resolve-key.ts";
import type { RekeyProgress } from "./sealing/reseal-rows.ts";
import {
  explainFailed,
  provisionFailed,
  purgeFailed,
  purgePreviewFailed,
  saveFailed,
  syncFailed,
} from "./model/results.ts";
import type { ValidateContext, Validation } from "./validate/validate-key.ts";
import type { ValidationRun } from "./validate/validate-many.ts";
import type { Verdict } from "./model/verdict.ts";
import type {
  EnsureResult,
  Explanation,
  ProvisionResult,
  PurgePreview,
  PurgeResult,
  SaveResult,
  SyncedKey,
  SyncResult,
} from "./model/results.ts";
import { accountOnUse } from "./protocol/account-on-use.ts";
import type { CopyOutcome } from "./copy/copy-rows.ts";
import { userFlag } from "./text/shell-quote.ts";
import { parseUserId } from "./model/user-id.ts";
import type { UserId } from "./model/user-id.ts";
import type { Context } from "./context.ts";
import { conflictError } from "./protocol/contention.ts";
import { resolveStored } from "./resolve/resolve-many.ts";
import type {
  ManagerContext,
  SyncOptions,
  ProvisionOptions,
  EnsureOptions,
  ValidateOptions,
  ValidateManyOptions,
  SaveOptions,
  PreviewPurgeOptions,
  PurgeOptions,
  PurgeBatch,
  ReconcileOptions,
  BulkOptions,
  ProvisionManyOptions,
  RekeyOptions,
  CopyOptions,
} from "./manager-options.ts";
import { parsedKey } from "./model/parse-key.ts";
import type { WantedTerms } from "./model/provision-rules.ts";
import type { Warning } from "./model/warning.ts";
import { LONGEST_MS } from "./text/duration.ts";

const CREATED_AT_ONCE = 8;
const UP_TO_LONGEST = { from: 0, to: LONGEST_MS } as const;

const ORIGIN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/;

/** Owns the keys of all users of one store. Methods that return a result put every expected failure into its `error` and reject only for a bug. */
export class KeyManager {
  readonly #context: ManagerContext & Context;
  readonly #resolving: ProvisioningFlights<SyncResult>;
  readonly #making: ProvisioningFlights<ProvisionResult>;
  readonly #working = new Set<Promise<unknown>>();
  #closed: Promise<void> | undefined;

  constructor(context: ManagerContext) {
    this.#context = { ...context, account: accountOnUse(context) };
    const { detaches, onOvertime = () => {} } = context;
    this.#resolving = new ProvisioningFlights(detaches, onOvertime);
    this.#making = new ProvisioningFlights(detaches, onOvertime);
  }

  /**
   * Finds the user's key (database, key.txt, environment) and keeps it in the database.
   * Calls for one user at the same time share one resolution; each has its own time-out and signal.
   */
  async syncAndGetKey(userId: string, options: SyncOptions = {}): Promise<SyncResult> {
    const { autoProvision = this.#context.autoProvision, ...patience } = options;
    return this.#sync(userId, { autoProvision, isDeliberate: false }, patience);
  }

  async #sync(userId: string, wanted: Omit<ResolveOptions, "onStage">, options: CallOptions): Promise<SyncResult> {
    const { autoProvision, isDeliberate } = wanted;
    const timeoutMs = options.timeoutMs ?? this.#defaultTimeoutMs(autoProvision);
    const result = await this.#attempt(userId, { ...options, timeoutMs }, syncFailed, (user, patience) =>
      this.#resolving.run(
        user,
        `sync ${autoProvision} ${isDeliberate}`,
        (onStage, signal) => resolve(user, this.#context, { ...wanted, onStage }, signal),
        patience,
      ),
    );
    return this.#withWarnings(result);
  }

  /**
   * Makes a key for a user who has none, whatever key.txt and the environment hold. KEY_EXISTS when there is one.
   * @param options what the key may do; by default as KEYCTL_PROVISION_… say
   */
  async autoProvisionKey(userId: string, options: ProvisionOptions = {}): Promise<ProvisionResult> {
    const { terms = {}, ...patience } = options;
    const timeoutMs = options.timeoutMs ?? this.#context.makingTimeoutMs;
    const make = async (user: UserId, onStage: (stage: Stage) => void, signal: AbortSignal) => {
      const { provisionKey } = await import("./resolve/provision-on-request.ts");
      return provisionKey(user, terms, this.#context, onStage, signal);
    };
    const result = await this.#attempt(userId, { ...patience, timeoutMs }, provisionFailed, (user, waiting) =>
      this.#making.run(user, "make", (onStage, signal) => make(user, onStage, signal), waiting),
    );
    return this.#withWarnings(result);
  }

  /**
   * The user's key and, with `validate`, whether it works: then a key that does not, or of which nobody could find out,
   * comes with its error (KEY_INVALID, VERDICT_UNKNOWN).
   */
  async ensureKeyForUser(userId: string, { validate = false, ...options }: EnsureOptions = {}): Promise<EnsureResult> {
    const result = await this.syncAndGetKey(userId, options);
    if (result.error !== null) return { key: null, source: null, valid: null, error: result.error };
    const { key, source } = result;
    if (!validate) return { key, source, valid: null, error: null };
    const { verdict, error } = await this.validateFound(result, options);
    if (error === null) return { key, source, valid: true, error };
    return { key, source, valid: verdict?.status === "invalid" ? false : null, error };
  }

  /** Asks OpenRouter whether the key in the database works, and notes a definite answer beside it. Never saves or makes a key. */
  async validate(userId: string, options: ValidateOptions = {}): Promise<Validation> {
    const result = await this.#attempt(userId, options, validationFailed, async (user, signal) => {
      const { validateStored } = await import("./validate/validate-key.ts");
      return validateStored(user, this.#context, this.#asking(options), signal);
    });
    return this.#withWarnings(result);
  }

  /** As `validate`, for a key that was just found: CONFLICT when the database holds another one by now. */
  async validateFound({ userId, keyHash }: SyncedKey, options: ValidateOptions = {}): Promise<Validation> {
    const validation = await this.validate(userId, options);
    if (validation.keyHash === keyHash || validation.verdict === null) return validation;
    return validationFailed(userId, conflictError(parseUserId(userId)));
  }

  /**
   * Asks OpenRouter whether this key works; the database is not used. `userId` is null in the result.
   * @param key the bare key; anything but one well-formed key is BAD_KEY_FORMAT, a mask KEY_IS_MASKED
   */
  async validateKeyWithApi(key: string | ApiKey, options: ValidateOptions = {}): Promise<Validation> {
    try {
      const result = await this.#whileOpen(options, async (signal) => {
        const { validateKey } = await import("./validate/validate-key.ts");
        return validateKey(parsedKey(key), this.#context, this.#asking(options), signal);
      });
      return this.#withWarnings(result);
    } catch (thrown) {
      return validationFailed(null, toKeyctlError(thrown));
    }
  }

  /**
   * Validates the keys of many users; results come as soon as they are there. Rejects with MANAGEMENT_KEY_MISSING for a
   * listing, and with USAGE for a number that an option cannot be.
   */
  async validateMany(options: ValidateManyOptions = {}): Promise<ValidationRun> {
    const { ValidationRun: Run } = await import("./validate/validate-many.ts");
    const { concurrency = 20, fromListing = false, notValidatedSinceMs, stop } = options;
    checkedNumber("concurrency", concurrency, { from: 1, to: MOST_AT_ONCE, whole: true });
    if (notValidatedSinceMs !== undefined) checkedNumber("notValidatedSinceMs", notValidatedSinceMs, UP_TO_LONGEST);
    if (fromListing && this.#context.managementKey() === undefined) {
      throw managementKeyMissing("the list of all keys cannot be read");
    }
    const signal = options.signal ?? new AbortController().signal;
    return new Run(this.#context, {
      ...this.#asking(options),
      concurrency,
      fromListing,
      notValidatedSinceMs,
      signal,
      stop,
    });
  }

  /** What the database alone holds: key.txt and the environment are not read, nothing is written. */
  async getStoredKey(userId: string, options: CallOptions = {}): Promise<SyncResult> {
    return this.#attempt(userId, options, syncFailed, (user, signal) => resolveStored(user, this.#context, signal));
  }

  /** Every source in order, what it holds, who wins, and what `syncAndGetKey` would do; writes nothing. */
  async explain(userId: string, options: SyncOptions = {}): Promise<Explanation> {
    const autoProvision = options.autoProvision ?? this.#context.autoProvision;
    return this.#attempt(userId, options, explainFailed, async (user, signal) => {
      const { explain } = await import("./resolve/explain-resolution.ts");
      return explain(user, this.#context, autoProvision, signal);
    });
  }

  /**
   * Stores this key for the user, over the one that is there (the upsert of the Python `APIKeyManager`).
   * @param key the bare key; anything but one well-formed key is BAD_KEY_FORMAT, a mask KEY_IS_MASKED, a management key
   * that is configured here MANAGEMENT_KEY_AS_USER_KEY
   * @param source how the key came here: 1 to 32 letters, digits, dots, dashes or underscores
   */
  async saveKeyToDb(
    userId: string,
    key: string | ApiKey,
    source = "manual",
    options: CallOptions = {},
  ): Promise<SaveResult> {
    return this.save(userId, key, { ...options, source, replace: "any" });
  }

  /** As `saveKeyToDb`, but another key that is there is replaced only as `replace` allows; else KEY_EXISTS or CONFLICT. */
  async save(
    userId: string,
    key: string | ApiKey,
    options: SaveOptions = {},
  ): Promise<SaveResult & { readonly verdict: Verdict | null }> {
    const { source = "manual", replace = "none", validate = false, revoke = false } = options;
    let checked: Promise<Validation> | undefined;
    const result = await this.#attempt(userId, options, saveFailed, async (user, signal) => {
      const parsed = this.#keyToSave(key, user);
      if (!ORIGIN.test(source)) {
        throw new KeyctlError("USAGE", "a source is 1 to 32 letters, digits, dots, dashes or underscores", {
          hint: "--source manual",
        });
      }
      const approve = async () => {
        checked ??= this.validateKeyWithApi(parsed, options);
        const { error } = await checked;
        if (error !== null) throw error;
      };
      const change = { origin: source, replace, revoke, ...(validate ? { approve } : {}) };
      const { saveKey } = await import("./change/save-key.ts");
      return saveKey(user, parsed, change, this.#context, signal);
    });
    const check = (await checked) ?? null;
    const told = this.#withWarnings(await this.#withCheck(result, check, options));
    return { ...told, verdict: check?.verdict ?? null };
  }

  /** Deletes the user's key from the database. */
  async purge(userId: string, options: PurgeOptions = {}): Promise<PurgeResult> {
    const purged = await this.#attempt(userId, options, purgeFailed, async (user, signal) => {
      const { confirmPurge } = await import("./change/purge-key.ts");
      return confirmPurge(await this.#purgeKey(user, options, {}, signal), signal);
    });
    return this.#withWarnings(purged);
  }

  /** As `purge`, one user after the other; with `revoke`, it is asked for all of them together whether their keys are gone. */
  async *purgeMany(
    batches: AsyncIterable<readonly UserId[]>,
    options: Omit<PurgeOptions, "onlyHash"> = {},
  ): AsyncGenerator<readonly PurgeResult[]> {
    const { confirmPurges } = await import("./change/purge-key.ts");
    const { purgeMany } = await import("./change/purge-many.ts");
    const shared: PurgeBatch = {};
    const results = purgeMany(batches, {
      purge: (userId) =>
        this.#attempt(userId, options, endedPurge, (user, signal) => this.#purgeKey(user, options, shared, signal)),
      confirm: (purges) => this.#whileOpen(options, (signal) => confirmPurges(purges, signal)),
    });
    for await (const some of results) yield some.map((result) => this.#withWarnings(result));
  }

  async #purgeKey(
    user: UserId,
    { onlyHash, revoke = "no", signal }: PurgeOptions,
    shared: PurgeBatch,
    patience: AbortSignal,
  ): Promise<Purge> {
    const { purgeKey } = await import("./change/purge-key.ts");
    const finish = async (absent: UserId, waiting: AbortSignal) => this.#finishPurges(absent, shared, waiting, signal);
    shared.nextSync ??= await this.#nextSync();
    return purgeKey(user, { onlyHash, revoke, nextSync: shared.nextSync, finish }, this.#context, patience);
  }

  /** What a purge with `revoke` of a user without a row still owes. */
  async #finishPurges(
    user: UserId,
    shared: PurgeBatch,
    patience: AbortSignal,
    signal: AbortSignal | undefined,
  ): Promise<PurgeCompletion> {
    const { inventoryOf, workshopOf } = await import("./reconcile/reconciliation.ts");
    const { finishPurges } = await import("./reconcile/finish-purges.ts");
    const { requestRetainedDeletions } = await import("./protocol/retained-keys.ts");
    const workshop = await workshopOf(this.#context, () => patience);
    await requestRetainedDeletions(user, null, workshop, patience);
    // It is the whole run's: no user's time is enough for all keys, and no failure is kept.
    shared.inventory ??= inventoryOf({
      ...workshop,
      newSignal: () => deadlineSignal({ signal }, this.#context.timeoutMs),
    }).catch((thrown) => {
      delete shared.inventory;
      throw thrown;
    });
    return finishPurges(user, await shared.inventory, workshop);
  }

  /**
   * Compares all keys at OpenRouter with all that is stored; `plan` of what is given says what it found. Rejects with
   * MANAGEMENT_KEY_MISSING, MANAGEMENT_KEY_REFUSED, MANAGEMENT_KEY_OF_ANOTHER_ACCOUNT, PROVIDER_UNAVAILABLE. The time-out
   * is each step's.
   */
  async reconcile({
    userId,
    fixes = false,
    adoptAccount = false,
    ...patience
  }: ReconcileOptions = {}): Promise<Reconciliation> {
    const only = userId === undefined ? undefined : parseUserId(userId);
    const { Reconciliation: Run } = await import("./reconcile/reconciliation.ts");
    try {
      return await Run.begin(this.#context, { only, fixes, adoptAccount, newSignal: this.#stepByStep(patience) });
    } catch (thrown) {
      throw toKeyctlError(thrown, patience.signal);
    }
  }

  /** What a purge of this user would remove with the same `revoke`; changes nothing. */
  async previewPurge(userId: string, options: PreviewPurgeOptions = {}): Promise<PurgePreview> {
    return this.#previewPurge(userId, options, {});
  }

  /** As `previewPurge`, one user after the other. Throws what fails for all of them. */
  async *previewPurgeMany(
    batches: AsyncIterable<readonly UserId[]>,
    options: Pick<PurgeOptions, "revoke"> & CallOptions = {},
  ): AsyncGenerator<readonly PurgePreview[]> {
    const shared: PurgeBatch = {};
    for await (const batch of batches) {
      for (const user of batch) {
        const preview = await this.#previewPurge(user, options, shared);
        if (preview.error !== null && RUN_FATAL_CODES.has(preview.error.code)) throw preview.error;
        yield [preview];
      }
    }
  }

  async #previewPurge(
    userId: string,
    { revoke = "no", looksAhead = true, ...options }: PreviewPurgeOptions,
    shared: PurgeBatch,
  ): Promise<PurgePreview> {
    return this.#attempt(userId, options, purgePreviewFailed, async (user, signal) => {
      const { previewPurge } = await import("./change/purge-key.ts");
      const nextSync = looksAhead ? (shared.nextSync ??= await this.#nextSync()) : null;
      return previewPurge(user, { revoke, nextSync }, this.#context, signal);
    });
  }

  async #nextSync(): Promise<NextSync> {
    const { NextSync: Next } = await import("./resolve/next-sync.ts");
    return new Next(this.#context, this.#context.autoProvision);
  }

  /**
   * Resolves many users, batch by batch; results are given after their commit. Keys are created only with `provision`.
   * Throws what fails for all of them.
   */
  async *syncMany(
    batches: AsyncIterable<readonly UserId[]>,
    options: BulkOptions = {},
  ): AsyncGenerator<readonly SyncResult[]> {
    const { reach = "sources", provision = false, logged = false, signal } = options;
    const { syncMany } = await import("./resolve/sync-many.ts");
    yield* syncMany(batches, this.#context, {
      reach,
      provision,
      isLogged: logged,
      budget: budgetFor(options),
      newSignal: this.#stepByStep(options),
      resolveOne: (user, autoProvision) => this.#sync(user, { autoProvision, isDeliberate: true }, { signal }),
    });
  }

  /** Whether `syncAndGetKey` creates a key where nothing else is said. */
  get provisionsByDefault(): boolean {
    return this.#context.autoProvision;
  }

  /** Whether there is a management key; false where it cannot be read. */
  hasManagementKey(): boolean {
    return isThere(this.#context.hasManagementKey);
  }

  /** What `syncAndGetKey` would do, and where the key is or would come from; saves and creates nothing. */
  async previewSync(userId: string, options: SyncOptions = {}): Promise<SyncPreview> {
    const autoProvision = options.autoProvision ?? this.#context.autoProvision;
    return this.#attempt(userId, options, syncPreviewFailed, async (user, signal) => {
      const { previewSync } = await import("./resolve/preview-sync.ts");
      return previewSync(user, this.#context, autoProvision, signal);
    });
  }

  /** As `previewSync`, of `syncMany`. */
  async *previewSyncMany(
    batches: AsyncIterable<readonly UserId[]>,
    options: Pick<BulkOptions, "provision" | "reach" | "maxKeys"> & CallOptions = {},
  ): AsyncGenerator<readonly SyncPreview[]> {
    const { reach = "sources", provision = false } = options;
    const { previewSyncMany } = await import("./resolve/preview-sync.ts");
    const budget = budgetFor(options);
    yield* previewSyncMany(batches, this.#context, { reach, provision, budget, newSignal: this.#stepByStep(options) });
  }

  /** As `autoProvisionKey`, for many users, several at a time. Throws what fails for all of them. */
  async *provisionMany(
    batches: AsyncIterable<readonly UserId[]>,
    options: ProvisionManyOptions = {},
  ): AsyncGenerator<readonly ProvisionResult[]> {
    const { terms = {}, concurrency = CREATED_AT_ONCE, signal } = options;
    checkedNumber("concurrency", concurrency, { from: 1, to: MOST_AT_ONCE, whole: true });
    const { provisionMany } = await import("./resolve/provision-many.ts");
    yield* provisionMany(batches, this.#context, {
      terms,
      concurrency,
      budget: budgetFor(options),
      newSignal: this.#stepByStep(options),
      provisionOne: (user) => this.autoProvisionKey(user, { terms, signal }),
    });
  }

  /** What `provisionMany` would do for each user; creates nothing. */
  async *previewProvisionMany(
    batches: AsyncIterable<readonly UserId[]>,
    { terms = {}, maxKeys, ...patience }: ProvisionOptions & Pick<BulkOptions, "maxKeys"> = {},
  ): AsyncGenerator<readonly ProvisionPreview[]> {
    const { previewProvisionMany } = await import("./resolve/preview-provision.ts");
    const budget = budgetFor({ maxKeys });
    yield* previewProvisionMany(batches, this.#context, { terms, budget, newSignal: this.#stepByStep(patience) });
  }

  /** What a new key may do: `given`, and the rest as KEYCTL_PROVISION_… say. Throws USAGE, CONFIG_EMPTY, CONFIG_INVALID. */
  provisionTerms(given: Partial<WantedTerms> = {}): WantedTerms {
    return termsFor(this.#context.provisioning, given);
  }

  /** Every row in the order of the user id, unopened and in constant memory; only those of this key when a hash is given. */
  rows(options: CallOptions = {}, keyHash?: string): AsyncIterable<KeyRecord> {
    return this.#context.store.scan(this.#stepByStep(options), keyHash);
  }

  /**
   * Seals every row with a new master key, or with the active one. What is given is how far it has come; who stops asking
   * stops it, and the next one goes on. Rejects with what fails for all rows.
   */
  async *rekey({ kind = "new-key", dryRun = false, ...options }: RekeyOptions = {}): AsyncGenerator<RekeyProgress> {
    const newSignal = this.#stepByStep(options);
    const { rekey } = await import("./sealing/reseal-rows.ts");
    yield* rekey({ ...this.#context, newSignal }, { kind, dryRun });
  }

  /** How many users have a key. */
  async count(options: CallOptions = {}): Promise<number> {
    return this.#whileOpen(options, (signal) => this.#context.store.count(signal));
  }

  /**
   * Copies the journal, then every row as it is to where its user has none, and proves each: what became of them, batch
   * by batch. What fails for all of them is thrown, as CONFLICT for a destination that has made keys of its own; calling it
   * again goes on where it ended. The time-out is each batch's.
   */
  async *copyTo(
    destination: KeyManager,
    { dryRun = false, ...patience }: CopyOptions = {},
  ): AsyncGenerator<readonly CopyOutcome[]> {
    const { copyRows } = await import("./copy/copy-rows.ts");
    yield* copyRows(this.#context, destination.#context, { dryRun, newSignal: this.#stepByStep(patience) });
  }

  /** Rejects with MASTER_KEY_MISSING or MASTER_KEY_WRONG unless what is sealed here opens; writes nothing. */
  async requireMasterKeys(options: CallOptions = {}): Promise<void> {
    await this.#whileOpen(options, async (signal) => {
      const { unlockSource } = await import("./copy/copy-rows.ts");
      await raceSignalWithGrace(unlockSource(this.#context, signal), signal);
    });
  }

  /** Readiness: rejects with a KeyctlError unless the store answers and the master keys open it. */
  async check(options: CallOptions = {}): Promise<void> {
    await this.#whileOpen(options, async (signal) => {
      await raceSignalWithGrace(this.#context.store.ping(signal), signal);
      await raceSignalWithGrace(this.#context.sealer("seal", signal), signal);
    });
  }

  /** Waits for work in flight, then lets go of the store. */
  async close(): Promise<void> {
    this.#closed ??= this.#finish();
    return this.#closed;
  }

  async #finish(): Promise<void> {
    await Promise.allSettled(this.#working);
    await this.#resolving.drain();
    await this.#making.drain();
    await this.#context.openRouter.close();
    await this.#context.store.close();
  }

  /** Work that is in flight from the moment of the call: what it needs is loaded within it, so that `close` waits for that too. */
  async #attempt<Result>(
    userId: string,
    options: CallOptions,
    failed: (userId: string, error: KeyctlError) => Result | Promise<Result>,
    work: (user: UserId, signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    try {
      return await this.#whileOpen(options, async (signal) => work(parseUserId(userId), signal));
    } catch (thrown) {
      return await failed(userId, toKeyctlError(thrown));
    }
  }

  /** Work that `close` waits for. Rejects with a KeyctlError, or for a bug. */
  async #whileOpen<Result>(options: CallOptions, work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
    this.#refuseClosed();
    const signal = deadlineSignal(options, this.#context.timeoutMs);
    try {
      return await this.#tracked(work(signal));
    } catch (thrown) {
      throw toKeyctlError(thrown, signal);
    }
  }

  /** The time of each step of work that `close` does not wait for: after it, the next step is refused. */
  #stepByStep(options: CallOptions): () => AbortSignal {
    return () => {
      this.#refuseClosed();
      return deadlineSignal(options, this.#context.timeoutMs);
    };
  }

  #refuseClosed(): void {
    if (this.#closed !== undefined)
      throw new KeyctlError("USAGE", "this key manager is closed", { hint: "open a new one" });
  }

  async #tracked<Result>(work: Promise<Result>): Promise<Result> {
    this.#working.add(work);
    try {
      return await work;
    } finally {
      this.#working.delete(work);
    }
  }

  /** Notes the verdict beside a key that was saved because of it. */
  async #withCheck(result: SaveResult, check: Validation | null, options: CallOptions): Promise<SaveResult> {
    const { userId, keyHash, warnings, error } = result;
    if (error !== null || keyHash === null || check === null || check.checkedAt === null) return result;
    const { recordSaved } = await import("./validate/validate-key.ts");
    const { newSignal } = this.#asking(options);
    const more = await recordSaved(parseUserId(userId), keyHash, check.checkedAt, this.#context, newSignal);
    return { ...result, warnings: [...warnings, ...more] };
  }

  /** What is known of the management key's account is told once, with the first result after that. */
  #withWarnings<Result extends { readonly warnings: readonly Warning[] }>(result: Result): Result {
    const warnings = this.#context.account.takeWarnings();
    return warnings.length === 0 ? result : { ...result, warnings: [...result.warnings, ...warnings] };
  }

  #keyToSave(key: string | ApiKey, user: UserId): ApiKey {
    try {
      if (!isManagementKey(key, this.#context.managementKeyHashes())) return parsedKey(key);
      throw new KeyctlError("MANAGEMENT_KEY_AS_USER_KEY", "this is the management key, which no user may have", {
        hint: `save a key from https://openrouter.ai/keys, or   keyctl provision ${userFlag(user)}   to make one`,
      });
    } catch (thrown) {
      this.#context.log({ kind: "not-saving" });
      throw thrown;
    }
  }

  /** Making a key takes longer than finding one. */
  #defaultTimeoutMs(mayMake: boolean): number {
    const { timeoutMs, makingTimeoutMs, hasManagementKey } = this.#context;
    try {
      return mayMake && hasManagementKey() ? makingTimeoutMs : timeoutMs;
    } catch (thrown) {
      // The work itself comes upon it as well.
      if (isKeyctlError(thrown)) return timeoutMs;
      throw thrown;
    }
  }

  #asking({
    timeoutMs = this.#context.timeoutMs,
    signal,
    warnWithinMs,
    minRemaining,
  }: ValidateOptions): ValidateContext {
    if (warnWithinMs !== undefined) checkedNumber("warnWithinMs", warnWithinMs, UP_TO_LONGEST);
    if (minRemaining !== undefined) checkedNumber("minRemaining", minRemaining, { from: 0, to: HIGHEST_LIMIT });
    const limits = { warnWithinMs, minRemaining };
    return { limits, timeoutMs, newSignal: () => deadlineSignal({ timeoutMs, signal }, timeoutMs) };
  }
}

/** Throws USAGE. */
function budgetFor({ maxKeys }: Pick<BulkOptions, "maxKeys">): KeyBudget {
  if (maxKeys === undefined) return new KeyBudget(Number.POSITIVE_INFINITY);
  return new KeyBudget(checkedNumber("maxKeys", maxKeys, { from: 0, to: Number.MAX_SAFE_INTEGER, whole: true }));
}

function syncPreviewFailed(userId: string, error: KeyctlError): SyncPreview {
  return { ...syncFailed(userId, error), action: "none" };
}

function endedPurge(userId: string, error: KeyctlError): Purge {
  return { status: "ended", result: purgeFailed(userId, error) };
}

async function validationFailed(userId: string | null, error: KeyctlError): Promise<Validation> {
  return (await import("./validate/validate-key.ts")).validationFailed(userId, error);
}
