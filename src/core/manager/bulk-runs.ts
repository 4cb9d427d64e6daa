import { toKeyctlError } from "../async/deadline.ts";
import type { ImportEntry, ImportResult } from "../change/import-keys.ts";
import type { CopyOutcome } from "../copy/copy-rows.ts";
import type {
  BulkOptions,
  CopyOptions,
  ImportOptions,
  ManagerContext,
  PreviewSyncOptions,
  ProvisionManyOptions,
  PreviewProvisionOptions,
  ReconcileOptions,
  RekeyOptions,
  ValidateManyOptions,
} from "./manager-options.ts";
import { contextFor } from "./event-calls.ts";
import type { ResolvingCalls } from "./resolving-calls.ts";
import { KeyctlError } from "../model/errors.ts";
import { managementKeyMissing } from "../model/management-key.ts";
import {
  checkConcurrency,
  checkedNumber,
  CREATED_AT_ONCE,
  UP_TO_LONGEST,
  VALIDATED_AT_ONCE,
} from "../model/number-options.ts";
import type { ProvisionResult, ResultBatches, SyncResult } from "../model/results.ts";
import { parseUserId } from "../model/user-id.ts";
import type { UserIdBatches } from "../model/user-id.ts";
import type { OpenWork } from "../open-work.ts";
import type { Reconciliation } from "../reconcile/reconciliation.ts";
import { budgetFor } from "../protocol/key-budget.ts";
import type { ProvisionPreview } from "../resolve/preview-provision.ts";
import type { SyncPreview } from "../resolve/preview-sync.ts";
import type { RekeyProgress, RekeyTask } from "../sealing/reseal-rows.ts";
import { shellQuote } from "../text/shell-quote.ts";
import type { ValidationRun } from "../validate/validate-many.ts";

/**
 * The runs over many users, behind the manager's methods of the same names. The time limit applies to each step: a
 * batch, a page or a user. Results are yielded as they arrive. A failure that concerns all users is thrown.
 */
export class BulkRuns {
  readonly #context: ManagerContext;
  readonly #work: OpenWork;
  readonly #resolving: ResolvingCalls;

  constructor(context: ManagerContext, work: OpenWork, resolving: ResolvingCalls) {
    this.#context = context;
    this.#work = work;
    this.#resolving = resolving;
  }

  async *syncMany(batches: UserIdBatches, options: BulkOptions): ResultBatches<SyncResult> {
    const { reach = "sources", provision = false, logged = false, concurrency = CREATED_AT_ONCE } = options;
    const { signal, stop, reason } = options;
    checkConcurrency(concurrency);
    const { syncMany } = await import("../resolve/sync-many.ts");
    const results = syncMany(batches, contextFor(this.#context, options), {
      reach,
      provision,
      isLogged: logged,
      concurrency,
      budget: budgetFor(options.maxKeys),
      newSignal: this.#work.newSignal(options),
      stop,
      resolveOne: (user, autoProvision) =>
        this.#resolving.sync(user, { autoProvision, isDeliberate: true }, { signal, reason }),
    });
    yield* this.#work.resultsOf(results);
  }

  async *previewSyncMany(batches: UserIdBatches, options: PreviewSyncOptions): ResultBatches<SyncPreview> {
    const { reach = "sources", provision = false } = options;
    const { previewSyncMany } = await import("../resolve/preview-sync.ts");
    const newSignal = this.#work.newSignal(options);
    yield* previewSyncMany(batches, this.#context, { reach, provision, budget: budgetFor(options.maxKeys), newSignal });
  }

  async *provisionMany(batches: UserIdBatches, options: ProvisionManyOptions): ResultBatches<ProvisionResult> {
    const { terms = {}, concurrency = CREATED_AT_ONCE, signal, stop, reason } = options;
    checkConcurrency(concurrency);
    const { provisionMany } = await import("../resolve/provision-many.ts");
    const results = provisionMany(batches, contextFor(this.#context, options), {
      terms,
      concurrency,
      budget: budgetFor(options.maxKeys),
      newSignal: this.#work.newSignal(options),
      stop,
      provisionOne: (user) => this.#resolving.provision(user, { terms, signal, reason }),
    });
    yield* this.#work.resultsOf(results);
  }

  async *previewProvisionMany(
    batches: UserIdBatches,
    { terms = {}, maxKeys, refusesExisting = false, ...options }: PreviewProvisionOptions,
  ): ResultBatches<ProvisionPreview> {
    const { previewProvisionMany } = await import("../resolve/preview-provision.ts");
    const newSignal = this.#work.newSignal(options);
    const budget = budgetFor(maxKeys);
    yield* previewProvisionMany(batches, this.#context, { terms, budget, refusesExisting, newSignal });
  }

  /** Rejects with MANAGEMENT_KEY_MISSING for a listing, and with USAGE for an option that is not a valid number. */
  async validateMany(options: ValidateManyOptions): Promise<ValidationRun> {
    const { ValidationRun: Run } = await import("../validate/validate-many.ts");
    const { validateContext } = await import("../validate/validate-key.ts");
    const { concurrency = VALIDATED_AT_ONCE, fromListing = false, notValidatedSinceMs, stop } = options;
    checkConcurrency(concurrency);
    if (notValidatedSinceMs !== undefined) checkedNumber("notValidatedSinceMs", notValidatedSinceMs, UP_TO_LONGEST);
    if (fromListing && this.#context.managementKey() === undefined) {
      throw managementKeyMissing("the list of all keys cannot be read");
    }
    const asking = validateContext(options, this.#context);
    const signal = options.signal ?? new AbortController().signal;
    return new Run(this.#context, { ...asking, concurrency, fromListing, notValidatedSinceMs, signal, stop });
  }

  /**
   * Rejects with MANAGEMENT_KEY_MISSING, MANAGEMENT_KEY_REFUSED, MANAGEMENT_KEY_OF_ANOTHER_ACCOUNT,
   * PROVIDER_UNAVAILABLE.
   */
  async reconcile({
    userId,
    fixes = false,
    adoptAccount = false,
    includeKept = false,
    onStep = () => {},
    ...options
  }: ReconcileOptions): Promise<Reconciliation> {
    const only = userId === undefined ? undefined : parseUserId(userId);
    const { Reconciliation: Run } = await import("../reconcile/reconciliation.ts");
    try {
      const newSignal = this.#work.newSignal(options);
      return await Run.begin(contextFor(this.#context, options), {
        only,
        fixes,
        adoptAccount,
        includeKept,
        newSignal,
        onStep,
      });
    } catch (thrown) {
      throw toKeyctlError(thrown, options.signal);
    }
  }

  async *importKeys(
    batches: AsyncIterable<readonly ImportEntry[]>,
    { dryRun = false, ...options }: ImportOptions,
  ): ResultBatches<ImportResult> {
    const { importKeys } = await import("../change/import-keys.ts");
    const newSignal = this.#work.newSignal(options);
    yield* this.#work.resultsOf(importKeys(batches, contextFor(this.#context, options), { dryRun, newSignal }));
  }

  /** Yields its progress. A signal stops the run, and the next call continues it. */
  async *rekey({ kind = "new-key", kid, dryRun = false, ...options }: RekeyOptions): AsyncGenerator<RekeyProgress> {
    checkRetirement(kind, kid);
    const { rekey } = await import("../sealing/reseal-rows.ts");
    yield* rekey({ ...this.#context, newSignal: this.#work.newSignal(options) }, { kind, kid, dryRun });
  }

  /**
   * Throws CONFLICT for a destination that has created keys of its own. The next call continues where this one ended.
   */
  async *copyTo(destination: ManagerContext, { dryRun = false, ...options }: CopyOptions): ResultBatches<CopyOutcome> {
    const { copyRows } = await import("../copy/copy-rows.ts");
    yield* copyRows(this.#context, contextFor(destination, options), {
      dryRun,
      newSignal: this.#work.newSignal(options),
    });
  }
}

/** Throws USAGE: a master key is named to be retired, and for nothing else. */
function checkRetirement(kind: RekeyTask["kind"], kid: string | undefined): void {
  const hasKid = kid !== undefined && kid !== "";
  if (kind === "retire" ? hasKid : kid === undefined) return;
  throw new KeyctlError("USAGE", 'rekey takes kind: "retire" and kid together', {
    hint: `keyctl rekey --retire=${hasKid ? shellQuote(kid) : "<kid>"}`,
  });
}
