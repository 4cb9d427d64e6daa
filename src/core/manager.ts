import { ApiKey } from "./api-key.ts";
import type { Finished, Purge, PurgeTask } from "./purging.ts";
import type { Replace } from "./saving.ts";
import { isKeyctlError, KeyctlError } from "./errors.ts";
import { orGivenUp } from "./flights.ts";
import type { KeyRecord } from "./key-record.ts";
import { Makings } from "./makings.ts";
import type { OnOvertime, Stage } from "./makings.ts";
import { isManagementKey, isThere } from "./management-key.ts";
import { checkedNumber, LONGEST_MS, MOST_AT_ONCE } from "./number-options.ts";
import { asFailure, patienceOf } from "./patience.ts";
import type { Patience } from "./patience.ts";
import { KeyBudget } from "./resolve/key-budget.ts";
import type { ProvisionPreview } from "./resolve/provision-many.ts";
import type { SyncPreview } from "./resolve/sync-many.ts";
import type { Warning } from "./ports.ts";
import { contended, resolve, resolveStored } from "./resolution.ts";
import type { Inventory } from "./inventory.ts";
import type { Reconciliation } from "./reconciliation.ts";
import { HIGHEST_LIMIT, termsFor } from "./provision-terms.ts";
import type { WantedTerms } from "./provisioning.ts";
import type { Parts, Resolving } from "./resolution.ts";
import type { RekeyProgress, RekeyTask } from "./rekeying.ts";
import { explainFailed, provisionFailed, purgeFailed, purgePreviewFailed, saveFailed, syncFailed } from "./results.ts";
import type { Asking, Validation } from "./validation.ts";
import type { RunOptions, ValidationRun } from "./validation-run.ts";
import type { Limits, Verdict } from "./verdict.ts";
import type {
  EnsureResult,
  Explanation,
  ProvisionResult,
  PurgePreview,
  PurgeResult,
  SaveResult,
  SyncedKey,
  SyncResult,
} from "./results.ts";
import { accountOnUse } from "./protocol/account-on-use.ts";
import type { CopyOutcome } from "./row-copies.ts";
import { userFlag } from "./shell-quote.ts";
import type { Lock } from "./unlock.ts";
import { parseUserId } from "./user-id.ts";
import type { UserId } from "./user-id.ts";

export interface SyncOptions extends Patience {
  /** Whether a key may be made when there is none. Default: as the manager was opened. */
  readonly autoProvision?: boolean | undefined;
}

export interface ProvisionOptions extends Patience {
  /** What the key may do; what is not said is as KEYCTL_PROVISION_… say. */
  readonly terms?: Partial<WantedTerms> | undefined;
}

export interface EnsureOptions extends SyncOptions {
  /** Ask OpenRouter whether the key works, and note a definite answer in the database. Default false. */
  readonly validate?: boolean | undefined;
}

export interface SaveOptions extends Patience {
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
export interface ValidateOptions extends Patience, Limits {}

export interface ValidateManyOptions
  extends ValidateOptions, Partial<Pick<RunOptions, "concurrency" | "fromListing" | "notValidatedSinceMs" | "stop">> {}

export interface PurgeOptions extends Patience {
  /** Only the key with this hash: CONFLICT when another one is there by now. */
  readonly onlyHash?: string | null | undefined;
  /**
   * Also remove it at OpenRouter: `ours` if keyctl made it, or whoever made it; and with it every other key that keyctl made
   * for this user. Default `no`.
   */
  readonly revoke?: PurgeTask["revoke"] | undefined;
}

/** All purges of a run read the list of all keys once. */
interface SharedInventory {
  inventory?: Promise<Inventory>;
}

export interface BulkOptions extends Patience {
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

export interface ReconcileOptions extends Patience {
  /** Only this user. Default all. */
  readonly userId?: string | undefined;
  /** `fix` is to follow, so that keys which wait in files may be brought in. Default false. */
  readonly fixes?: boolean | undefined;
  /** First binds the store to the account of the management key, whatever it was bound to. Default false. */
  readonly adoptAccount?: boolean | undefined;
}

export interface RekeyOptions extends Patience, Partial<RekeyTask> {}

export interface CopyOptions extends Patience {
  /** Say what would be copied, and write nothing. Default false. */
  readonly dryRun?: boolean | undefined;
}

export interface ManagerParts extends Omit<Parts, "account"> {
  readonly lock: Lock;
  readonly autoProvision: boolean;
  /** For each user, in milliseconds. */
  readonly timeoutMs: number;
  /** Where a key may be made. */
  readonly makingTimeoutMs: number;
  /** Who stops waiting for a key that is being made leaves it to itself; else its end is waited for. */
  readonly detaches: boolean;
  readonly onOvertime?: OnOvertime | undefined;
}

const CREATED_AT_ONCE = 8;
const UP_TO_LONGEST = { from: 0, to: LONGEST_MS } as const;

const ORIGIN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/;

/** Owns the keys of all users of one store. Methods that return a result put every expected failure into its `error` and reject only for a bug. */
export class KeyManager {
  readonly #parts: ManagerParts & Parts;
  readonly #resolving: Makings<SyncResult>;
  readonly #making: Makings<ProvisionResult>;
  readonly #working = new Set<Promise<unknown>>();
  #closed: Promise<void> | undefined;

  constructor(parts: ManagerParts) {
    this.#parts = { ...parts, account: accountOnUse(parts) };
    const { detaches, onOvertime = () => {} } = parts;
    this.#resolving = new Makings(detaches, onOvertime);
    this.#making = new Makings(detaches, onOvertime);
  }

  /**
   * Finds the user's key (database, key.txt, environment) and keeps it in the database.
   * Calls for one user at the same time share one resolution; each has its own time-out and signal.
   */
  async syncAndGetKey(userId: string, options: SyncOptions = {}): Promise<SyncResult> {
    const { autoProvision = this.#parts.autoProvision, ...patience } = options;
    return this.#sync(userId, { autoProvision, isDeliberate: false }, patience);
  }

  async #sync(userId: string, wanted: Omit<Resolving, "onStage">, options: Patience): Promise<SyncResult> {
    const { autoProvision, isDeliberate } = wanted;
    const timeoutMs = options.timeoutMs ?? this.#defaultTimeoutMs(autoProvision);
    const result = await this.#attempt(userId, { ...options, timeoutMs }, syncFailed, (user, patience) =>
      this.#resolving.join(
        user,
        `sync ${autoProvision} ${isDeliberate}`,
        (onStage, signal) => resolve(user, this.#parts, { ...wanted, onStage }, signal),
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
    const timeoutMs = options.timeoutMs ?? this.#parts.makingTimeoutMs;
    const make = async (user: UserId, onStage: (stage: Stage) => void, signal: AbortSignal) => {
      const { provisionKey } = await import("./provision-request.ts");
      return provisionKey(user, terms, this.#parts, onStage, signal);
    };
    const result = await this.#attempt(userId, { ...patience, timeoutMs }, provisionFailed, (user, waiting) =>
      this.#making.join(user, "make", (onStage, signal) => make(user, onStage, signal), waiting),
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
      const { validateStored } = await import("./validation.ts");
      return validateStored(user, this.#parts, this.#asking(options), signal);
    });
    return this.#withWarnings(result);
  }

  /** As `validate`, for a key that was just found: CONFLICT when the database holds another one by now. */
  async validateFound({ userId, keyHash }: SyncedKey, options: ValidateOptions = {}): Promise<Validation> {
    const validation = await this.validate(userId, options);
    if (validation.keyHash === keyHash || validation.verdict === null) return validation;
    return validationFailed(userId, contended(parseUserId(userId)));
  }

  /**
   * Asks OpenRouter whether this key works; the database is not used. `userId` is null in the result.
   * @param key the bare key; anything but one well-formed key is BAD_KEY_FORMAT, a mask KEY_IS_MASKED
   */
  async validateKeyWithApi(key: string | ApiKey, options: ValidateOptions = {}): Promise<Validation> {
    try {
      const result = await this.#whileOpen(options, async (signal) => {
        const { validateKey } = await import("./validation.ts");
        return validateKey(parsedKey(key), this.#parts, this.#asking(options), signal);
      });
      return this.#withWarnings(result);
    } catch (thrown) {
      return validationFailed(null, asFailure(thrown));
    }
  }

  /**
   * Validates the keys of many users; results come as soon as they are there. Rejects with MANAGEMENT_KEY_MISSING for a
   * listing, and with USAGE for a number that an option cannot be.
   */
  async validateMany(options: ValidateManyOptions = {}): Promise<ValidationRun> {
    const { ValidationRun: Run } = await import("./validation-run.ts");
    const { concurrency = 20, fromListing = false, notValidatedSinceMs, stop } = options;
    checkedNumber("concurrency", concurrency, { from: 1, to: MOST_AT_ONCE, whole: true });
    if (notValidatedSinceMs !== undefined) checkedNumber("notValidatedSinceMs", notValidatedSinceMs, UP_TO_LONGEST);
    if (fromListing && this.#parts.managementKey() === undefined) {
      const { managementKeyMissing } = await import("./key-listing.ts");
      throw managementKeyMissing("the list of all keys cannot be read");
    }
    const signal = options.signal ?? new AbortController().signal;
    return new Run(this.#parts, {
      ...this.#asking(options),
      concurrency,
      fromListing,
      notValidatedSinceMs,
      signal,
      stop,
    });
  }

  /** What the database alone holds: key.txt and the environment are not read, nothing is written. */
  async getStoredKey(userId: string, options: Patience = {}): Promise<SyncResult> {
    return this.#attempt(userId, options, syncFailed, (user, signal) => resolveStored(user, this.#parts, signal));
  }

  /** Every source in order, what it holds, who wins, and what `syncAndGetKey` would do; writes nothing. */
  async explain(userId: string, options: SyncOptions = {}): Promise<Explanation> {
    const autoProvision = options.autoProvision ?? this.#parts.autoProvision;
    return this.#attempt(userId, options, explainFailed, async (user, signal) => {
      const { explain } = await import("./explanation.ts");
      return explain(user, this.#parts, autoProvision, signal);
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
    patience: Patience = {},
  ): Promise<SaveResult> {
    return this.save(userId, key, { ...patience, source, replace: "any" });
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
      const { saveKey } = await import("./saving.ts");
      return saveKey(user, parsed, change, this.#parts, signal);
    });
    const check = (await checked) ?? null;
    const told = this.#withWarnings(await this.#withCheck(result, check, options));
    return { ...told, verdict: check?.verdict ?? null };
  }

  /** Deletes the user's key from the database. */
  async purge(userId: string, options: PurgeOptions = {}): Promise<PurgeResult> {
    const purged = await this.#attempt(userId, options, purgeFailed, async (user, signal) => {
      const { confirmPurge } = await import("./purging.ts");
      return confirmPurge(await this.#purgeKey(user, options, {}, signal), signal);
    });
    return this.#withWarnings(purged);
  }

  /** As `purge`, one user after the other; with `revoke`, it is asked for all of them together whether their keys are gone. */
  async *purgeMany(
    batches: AsyncIterable<readonly UserId[]>,
    options: Omit<PurgeOptions, "onlyHash"> = {},
  ): AsyncGenerator<readonly PurgeResult[]> {
    const { confirmPurges } = await import("./purging.ts");
    const { purgeMany } = await import("./change/purge-many.ts");
    const shared: SharedInventory = {};
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
    shared: SharedInventory,
    patience: AbortSignal,
  ): Promise<Purge> {
    const { purgeKey } = await import("./purging.ts");
    const finish = async (absent: UserId, waiting: AbortSignal) => this.#finishPurges(absent, shared, waiting, signal);
    const { autoProvision } = this.#parts;
    return purgeKey(user, { onlyHash, revoke, autoProvision, finish }, this.#parts, patience);
  }

  /** What a purge with `revoke` of a user without a row still owes. */
  async #finishPurges(
    user: UserId,
    shared: SharedInventory,
    patience: AbortSignal,
    signal: AbortSignal | undefined,
  ): Promise<Finished> {
    const { inventoryOf, workshopOf } = await import("./reconciliation.ts");
    const { finishPurges } = await import("./reconciling.ts");
    const { requestRetainedDeletions } = await import("./protocol/retained-keys.ts");
    const workshop = await workshopOf(this.#parts, () => patience);
    await requestRetainedDeletions(user, null, workshop, patience);
    // It is the whole run's: no user's time is enough for all keys, and no failure is kept.
    shared.inventory ??= inventoryOf({
      ...workshop,
      patience: () => patienceOf({ signal }, this.#parts.timeoutMs),
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
    const { Reconciliation: Run } = await import("./reconciliation.ts");
    try {
      return await Run.begin(this.#parts, { only, fixes, adoptAccount, patience: this.#stepByStep(patience) });
    } catch (thrown) {
      throw asFailure(thrown, patience.signal);
    }
  }

  /** What a purge of this user would remove with the same `revoke`; changes nothing. */
  async previewPurge(userId: string, options: Pick<PurgeOptions, "revoke"> & Patience = {}): Promise<PurgePreview> {
    const { revoke = "no" } = options;
    return this.#attempt(userId, options, purgePreviewFailed, async (user, signal) => {
      const { previewPurge } = await import("./purging.ts");
      const { autoProvision } = this.#parts;
      return previewPurge(user, { revoke, autoProvision }, this.#parts, signal);
    });
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
    yield* syncMany(batches, this.#parts, {
      reach,
      provision,
      isLogged: logged,
      budget: budgetFor(options),
      patience: this.#stepByStep(options),
      resolveOne: (user, autoProvision) => this.#sync(user, { autoProvision, isDeliberate: true }, { signal }),
    });
  }

  /** Whether `syncAndGetKey` creates a key where nothing else is said. */
  get provisionsByDefault(): boolean {
    return this.#parts.autoProvision;
  }

  /** Whether there is a management key; false where it cannot be read. */
  hasManagementKey(): boolean {
    return isThere(this.#parts.hasManagementKey);
  }

  /** What `syncMany` would do for each user, and where their key is or would come from; saves and creates nothing. */
  async *previewSyncMany(
    batches: AsyncIterable<readonly UserId[]>,
    options: Pick<BulkOptions, "provision" | "reach"> & Patience = {},
  ): AsyncGenerator<readonly SyncPreview[]> {
    const { reach = "sources", provision = false } = options;
    const { previewSyncMany } = await import("./resolve/sync-many.ts");
    yield* previewSyncMany(batches, this.#parts, { reach, provision, patience: this.#stepByStep(options) });
  }

  /** As `autoProvisionKey`, for many users, several at a time. Throws what fails for all of them. */
  async *provisionMany(
    batches: AsyncIterable<readonly UserId[]>,
    options: ProvisionManyOptions = {},
  ): AsyncGenerator<readonly ProvisionResult[]> {
    const { terms = {}, concurrency = CREATED_AT_ONCE, signal } = options;
    checkedNumber("concurrency", concurrency, { from: 1, to: MOST_AT_ONCE, whole: true });
    const { provisionMany } = await import("./resolve/provision-many.ts");
    yield* provisionMany(batches, this.#parts, {
      terms,
      concurrency,
      budget: budgetFor(options),
      patience: this.#stepByStep(options),
      provisionOne: (user) => this.autoProvisionKey(user, { terms, signal }),
    });
  }

  /** What `provisionMany` would do for each user; creates nothing. */
  async *previewProvisionMany(
    batches: AsyncIterable<readonly UserId[]>,
    { terms = {}, ...patience }: ProvisionOptions = {},
  ): AsyncGenerator<readonly ProvisionPreview[]> {
    const { previewProvisionMany } = await import("./resolve/provision-many.ts");
    yield* previewProvisionMany(batches, this.#parts, { terms, patience: this.#stepByStep(patience) });
  }

  /** What a new key may do: `given`, and the rest as KEYCTL_PROVISION_… say. Throws USAGE, CONFIG_EMPTY, CONFIG_INVALID. */
  provisionTerms(given: Partial<WantedTerms> = {}): WantedTerms {
    return termsFor(this.#parts.provisioning, given);
  }

  /** Every row in the order of the user id, unopened and in constant memory; only those of this key when a hash is given. */
  rows(options: Patience = {}, keyHash?: string): AsyncIterable<KeyRecord> {
    return this.#parts.store.scan(this.#stepByStep(options), keyHash);
  }

  /**
   * Seals every row with a new master key, or with the active one. What is given is how far it has come; who stops asking
   * stops it, and the next one goes on. Rejects with what fails for all rows.
   */
  async *rekey({ kind = "new-key", dryRun = false, ...options }: RekeyOptions = {}): AsyncGenerator<RekeyProgress> {
    const patience = this.#stepByStep(options);
    const { rekey } = await import("./rekeying.ts");
    yield* rekey({ ...this.#parts, patience }, { kind, dryRun });
  }

  /** How many users have a key. */
  async count(options: Patience = {}): Promise<number> {
    return this.#whileOpen(options, (signal) => this.#parts.store.count(signal));
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
    const { copyRows } = await import("./row-copies.ts");
    yield* copyRows(this.#parts, destination.#parts, { dryRun, patience: this.#stepByStep(patience) });
  }

  /** Rejects with MASTER_KEY_MISSING or MASTER_KEY_WRONG unless what is sealed here opens; writes nothing. */
  async requireMasterKeys(options: Patience = {}): Promise<void> {
    await this.#whileOpen(options, async (signal) => {
      const { unlockSource } = await import("./row-copies.ts");
      await orGivenUp(unlockSource(this.#parts, signal), signal);
    });
  }

  /** Readiness: rejects with a KeyctlError unless the store answers and the master keys open it. */
  async check(options: Patience = {}): Promise<void> {
    await this.#whileOpen(options, async (signal) => {
      await orGivenUp(this.#parts.store.ping(signal), signal);
      await orGivenUp(this.#parts.sealer("seal", signal), signal);
    });
  }

  /** Waits for work in flight, then lets go of the store. */
  async close(): Promise<void> {
    this.#closed ??= this.#finish();
    return this.#closed;
  }

  async #finish(): Promise<void> {
    await Promise.allSettled(this.#working);
    await this.#resolving.landed();
    await this.#making.landed();
    await this.#parts.openRouter.close();
    await this.#parts.store.close();
  }

  /** Work that is in flight from the moment of the call: what it needs is loaded within it, so that `close` waits for that too. */
  async #attempt<Result>(
    userId: string,
    patience: Patience,
    failed: (userId: string, error: KeyctlError) => Result | Promise<Result>,
    work: (user: UserId, signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    try {
      return await this.#whileOpen(patience, async (signal) => work(parseUserId(userId), signal));
    } catch (thrown) {
      return await failed(userId, asFailure(thrown));
    }
  }

  /** Work that `close` waits for. Rejects with a KeyctlError, or for a bug. */
  async #whileOpen<Result>(patience: Patience, work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
    this.#refuseClosed();
    const signal = patienceOf(patience, this.#parts.timeoutMs);
    try {
      return await this.#tracked(work(signal));
    } catch (thrown) {
      throw asFailure(thrown, signal);
    }
  }

  /** The time of each step of work that `close` does not wait for: after it, the next step is refused. */
  #stepByStep(patience: Patience): () => AbortSignal {
    return () => {
      this.#refuseClosed();
      return patienceOf(patience, this.#parts.timeoutMs);
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
  async #withCheck(result: SaveResult, check: Validation | null, options: Patience): Promise<SaveResult> {
    const { userId, keyHash, warnings, error } = result;
    if (error !== null || keyHash === null || check === null || check.checkedAt === null) return result;
    const { recordSaved } = await import("./validation.ts");
    const { patience } = this.#asking(options);
    const more = await recordSaved(parseUserId(userId), keyHash, check.checkedAt, this.#parts, patience);
    return { ...result, warnings: [...warnings, ...more] };
  }

  /** What is known of the management key's account is told once, with the first result after that. */
  #withWarnings<Result extends { readonly warnings: readonly Warning[] }>(result: Result): Result {
    const warnings = this.#parts.account.takeWarnings();
    return warnings.length === 0 ? result : { ...result, warnings: [...result.warnings, ...warnings] };
  }

  #keyToSave(key: string | ApiKey, user: UserId): ApiKey {
    try {
      if (!isManagementKey(key, this.#parts.managementKeyHashes())) return parsedKey(key);
      throw new KeyctlError("MANAGEMENT_KEY_AS_USER_KEY", "this is the management key, which no user may have", {
        hint: `save a key from https://openrouter.ai/keys, or   keyctl provision ${userFlag(user)}   to make one`,
      });
    } catch (thrown) {
      this.#parts.log({ kind: "not-saving" });
      throw thrown;
    }
  }

  /** Making a key takes longer than finding one. */
  #defaultTimeoutMs(mayMake: boolean): number {
    const { timeoutMs, makingTimeoutMs, hasManagementKey } = this.#parts;
    try {
      return mayMake && hasManagementKey() ? makingTimeoutMs : timeoutMs;
    } catch (thrown) {
      // The work itself comes upon it as well.
      if (isKeyctlError(thrown)) return timeoutMs;
      throw thrown;
    }
  }

  #asking({ timeoutMs = this.#parts.timeoutMs, signal, warnWithinMs, minRemaining }: ValidateOptions): Asking {
    if (warnWithinMs !== undefined) checkedNumber("warnWithinMs", warnWithinMs, UP_TO_LONGEST);
    if (minRemaining !== undefined) checkedNumber("minRemaining", minRemaining, { from: 0, to: HIGHEST_LIMIT });
    const limits = { warnWithinMs, minRemaining };
    return { limits, timeoutMs, patience: () => patienceOf({ timeoutMs, signal }, timeoutMs) };
  }
}

/** Throws USAGE. */
function budgetFor({ maxKeys }: Pick<BulkOptions, "maxKeys">): KeyBudget {
  if (maxKeys === undefined) return new KeyBudget(Number.POSITIVE_INFINITY);
  return new KeyBudget(checkedNumber("maxKeys", maxKeys, { from: 0, to: Number.MAX_SAFE_INTEGER, whole: true }));
}

function endedPurge(userId: string, error: KeyctlError): Purge {
  return { status: "ended", result: purgeFailed(userId, error) };
}

async function validationFailed(userId: string | null, error: KeyctlError): Promise<Validation> {
  return (await import("./validation.ts")).validationFailed(userId, error);
}

/** Throws BAD_KEY_FORMAT, KEY_IS_MASKED. */
function parsedKey(key: string | ApiKey): ApiKey {
  if (typeof key !== "string") return key;
  const parsed = ApiKey.parse(key);
  if (parsed !== undefined) return parsed;
  if (ApiKey.isMask(key)) {
    throw new KeyctlError("KEY_IS_MASKED", "this is the mask of a key, not the key", {
      hint: "keyctl get --user <id> --reveal   prints a bare key",
    });
  }
  throw new KeyctlError("BAD_KEY_FORMAT", "this is not one well-formed OpenRouter key", {
    hint: "a key is sk-or-v1- and 8 to 200 letters, digits, dashes or underscores; see https://openrouter.ai/keys",
  });
}
