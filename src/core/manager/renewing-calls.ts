import { isTimeout } from "../async/deadline.ts";
import type { CallOptions } from "../async/deadline.ts";
import { inOrder } from "../async/in-order.ts";
import { notConfirmedInTime } from "../change/renew/confirm-refusal.ts";
import { nothingToRenew, renewKey } from "../change/renew/renew-key.ts";
import type { Renewed } from "../change/renew/renew-key.ts";
import { RenewalBackOff } from "../change/renew/renewal-back-off.ts";
import { previewRenewal } from "../change/renew/preview-renewal.ts";
import { callWithKey } from "../change/renew/with-user-key.ts";
import type { UserKeyCall, UserKeyResult, WithUserKeyOptions } from "../change/renew/with-user-key.ts";
import { contextFor } from "./event-calls.ts";
import type { ManagerContext, RenewManyOptions, RenewOptions } from "./manager-options.ts";
import type { ResolvingCalls } from "./resolving-calls.ts";
import type { ApiKey } from "../model/api-key.ts";
import { isKeyctlError, KeyctlError } from "../model/errors.ts";
import { checkConcurrency, ROTATED_AT_ONCE } from "../model/number-options.ts";
import { renewFailed, renewPreviewFailed } from "../model/renew-results.ts";
import type { RenewPreview, RenewResult } from "../model/renew-results.ts";
import type { ResultBatches } from "../model/results.ts";
import type { UserIdBatches, UserId } from "../model/user-id.ts";
import type { OpenWork } from "../open-work.ts";
import { createMissing, mayHaveCreated } from "../protocol/create-missing.ts";
import { findKey } from "../protocol/find-key.ts";
import { budgetFor, BudgetSlot, KeyBudget } from "../protocol/key-budget.ts";
import { SharedUserRuns } from "../protocol/shared-user-runs.ts";
import type { Stage } from "../protocol/shared-user-runs.ts";
import { Candidates } from "../resolve/source-candidates.ts";
import { answer } from "../resolve/sync-result.ts";
import { openForUse } from "../sealing/open-row.ts";

/** One renewal: of which key, and under which conditions. */
interface Order {
  readonly refused: string;
  readonly includeDisabled: boolean;
  readonly isAuto: boolean;
  /** Null: however many keys are created. */
  readonly budget: KeyBudget | null;
  /** With the reason of the call that begins it. */
  readonly context: ManagerContext;
  /** A person asks: whatever was found a moment ago is looked for again. */
  readonly asksAgain: boolean;
}

/** A program's call that was refused with this key. */
interface RefusedCall extends CallOptions {
  readonly key: ApiKey;
  readonly includeDisabled: boolean;
  /** Whether a key may be created if the user has none any more. */
  readonly autoProvision: boolean;
}

/** The renewals of one manager. Concurrent ones of one key share one run, with the confirmation that the key is dead. */
export class RenewingCalls {
  readonly #context: ManagerContext;
  readonly #work: OpenWork;
  readonly #resolving: ResolvingCalls;
  readonly #runs: SharedUserRuns<RenewResult | "absent">;
  readonly #backOff = new RenewalBackOff();
  /** The runs that wait for OpenRouter's word about a key. */
  readonly #confirming = new Set<string>();

  constructor(context: ManagerContext, work: OpenWork, resolving: ResolvingCalls) {
    this.#context = context;
    this.#work = work;
    this.#resolving = resolving;
    const { detaches, onOvertime = () => {} } = context;
    this.#runs = new SharedUserRuns(detaches, onOvertime);
    work.waitAtClose(() => this.#runs.drain());
  }

  /** Renews the key that is stored now, if it is dead. */
  async renew(userId: string, options: RenewOptions, budget: KeyBudget | null = null): Promise<RenewResult> {
    const { includeDisabled = false } = options;
    return this.#run(userId, options, async (user, waiting) => {
      const context = contextFor(this.#context, options);
      const { key } = await this.#stored(user, waiting);
      const isAuto = budget === null;
      const order = { refused: key.hash, includeDisabled, isAuto, budget, context, asksAgain: true };
      const result = await this.#shared(user, order, waiting);
      if (result === "absent") throw nothingToRenew(user);
      return result;
    });
  }

  /** Renews the key of a call that was refused, unless the user has another one by now. */
  async #renewRefused(userId: string, { key, includeDisabled, autoProvision, ...options }: RefusedCall) {
    let isAbsent = false;
    const result = await this.#run(userId, options, async (user, waiting) => {
      const context = contextFor(this.#context, options);
      const order = { refused: key.hash, includeDisabled, isAuto: true, budget: null, context, asksAgain: false };
      const renewed = await this.#shared(user, order, waiting);
      if (renewed !== "absent") return renewed;
      isAbsent = true;
      return renewFailed(user, nothingToRenew(user));
    });
    if (!isAbsent) return result;
    const found = await this.#resolving.sync(userId, { autoProvision, isDeliberate: false }, options);
    if (found.error !== null) this.#context.log({ kind: "renewal-failed", reason: found.error.message });
    return { ...found, ...NOTHING_RENEWED };
  }

  /** The calls of `KeyManager.withUserKey`. The call itself has no time limit of the manager, and `close` does not wait for it. */
  withUserKey<Value>(
    userId: string,
    call: UserKeyCall<Value>,
    options: WithUserKeyOptions<Value>,
  ): Promise<UserKeyResult<Value>> {
    const { autoProvision = this.#context.autoProvision, renewDisabled = false } = options;
    const { log } = this.#context;
    const find = (limits: CallOptions) => this.#resolving.sync(userId, { autoProvision, isDeliberate: false }, limits);
    const renew = (key: ApiKey, limits: CallOptions) =>
      this.#renewRefused(userId, { ...limits, key, includeDisabled: renewDisabled, autoProvision });
    return callWithKey(call, { find, renew, log }, options);
  }

  /** Several at once. Throws a failure that concerns all users. */
  async *renewMany(batches: UserIdBatches, options: RenewManyOptions): ResultBatches<RenewResult> {
    const { concurrency = ROTATED_AT_ONCE, maxKeys, stop, ...one } = options;
    checkConcurrency(concurrency);
    const budget = budgetFor(maxKeys, "renew");
    for await (const batch of batches) {
      if (stop?.aborted === true) return;
      yield* createMissing(
        batch.map((userId) => ({ userId, known: undefined })),
        {
          create: (user) => this.renew(user, one, budget),
          isCreated: ({ renewed }) => renewed,
          refuse: renewFailed,
          // Only a key that was found dead takes a slot.
          budget: new KeyBudget(Number.POSITIVE_INFINITY),
          concurrency,
          stop,
        },
      );
    }
  }

  /** What `renewMany` would do for each user; asks OpenRouter about each key and changes nothing. */
  async *previewMany(batches: UserIdBatches, options: RenewManyOptions): ResultBatches<RenewPreview> {
    const { maxKeys, includeDisabled = false, concurrency = ROTATED_AT_ONCE } = options;
    checkConcurrency(concurrency);
    const budget = budgetFor(maxKeys, "renew");
    const previewOne = (userId: string) =>
      this.#work.run<RenewPreview>(userId, options, renewPreviewFailed, (user, signal) =>
        previewRenewal(user, includeDisabled, this.#context, signal),
      );
    for await (const batch of batches) {
      for await (const preview of inOrder(batch, concurrency, previewOne)) {
        const isLeft = preview.action === "create" && !budget.take();
        yield [isLeft ? { ...preview, action: "none", reason: null, error: budget.usedUp() } : preview];
      }
    }
  }

  #run(
    userId: string,
    options: CallOptions,
    work: (user: UserId, signal: AbortSignal) => Promise<RenewResult>,
  ): Promise<RenewResult> {
    const { signal, timeoutMs = this.#context.makingTimeoutMs } = options;
    return this.#work.run(userId, { signal, timeoutMs }, renewFailed, work);
  }

  async #stored(user: UserId, signal: AbortSignal): Promise<{ readonly key: ApiKey }> {
    const row = await findKey(this.#context.store, user, signal);
    if (row === undefined) throw nothingToRenew(user);
    return { key: await openForUse(row, this.#context, signal) };
  }

  async #shared(user: UserId, order: Order, waiting: AbortSignal): Promise<RenewResult | "absent"> {
    const { refused, includeDisabled, isAuto, asksAgain } = order;
    const kind = `renew ${refused} ${includeDisabled} ${isAuto} ${asksAgain}`;
    try {
      return await this.#runs.run(
        user,
        kind,
        (onStage, signal) => this.#work.noted(() => this.#renewal(user, order, onStage, signal)),
        waiting,
      );
    } catch (thrown) {
      if (isTimeout(thrown) && this.#confirming.has(nameOf(user, order))) throw notConfirmedInTime(user);
      throw thrown;
    }
  }

  async #renewal(
    user: UserId,
    { budget, context, asksAgain, ...order }: Order,
    onStage: (stage: Stage) => void,
    signal: AbortSignal,
  ): Promise<RenewResult | "absent"> {
    const name = nameOf(user, order);
    let isAsked = false;
    const slot = new BudgetSlot(budget);
    try {
      const known = () => {
        const answered = asksAgain ? undefined : this.#backOff.known(name);
        isAsked = answered === undefined;
        return answered;
      };
      const onConfirming = (isUnderWay: boolean) => {
        if (isUnderWay) this.#confirming.add(name);
        else this.#confirming.delete(name);
      };
      const task = { ...order, known, onConfirming, beforeCreation: () => slot.take(signal), onStage };
      const renewed = await renewKey(user, task, context, signal);
      slot.settle(renewed.status === "renewed");
      if (renewed.status === "renewed") this.#backOff.remove(name);
      else if (isAsked && isStillWorking(renewed, order.refused)) this.#backOff.add(name, null);
      return await this.#resultOf(renewed);
    } catch (thrown) {
      slot.settle(isKeyctlError(thrown) && mayHaveCreated(thrown));
      if (isAsked && isKeyctlError(thrown)) this.#noteFailure(name, thrown, { context, asksAgain, signal });
      throw thrown;
    } finally {
      this.#confirming.delete(name);
    }
  }

  /** A failure for want of the caller's time says nothing about the next caller's. */
  #noteFailure(
    name: string,
    error: KeyctlError,
    { context, asksAgain, signal }: Pick<Order, "context" | "asksAgain"> & { readonly signal: AbortSignal },
  ): void {
    if (!asksAgain) context.log({ kind: "renewal-failed", reason: error.message });
    if (!signal.aborted) this.#backOff.add(name, error);
  }

  async #resultOf(renewed: Renewed): Promise<RenewResult | "absent"> {
    if (renewed.status === "absent") return "absent";
    const { sources, clock } = this.#context;
    const { row, key } = renewed;
    const candidates = await Candidates.readBeside(sources);
    const now = clock.now().getTime();
    if (renewed.status === "held") {
      return { ...answer(row, key, { source: "database", candidates, now }), ...NOTHING_RENEWED };
    }
    const found = answer(row, key, { source: "auto-provisioned", candidates, now });
    const warnings = [...found.warnings, ...renewed.warnings];
    return { ...found, warnings, renewed: true, reason: renewed.reason, previous: renewed.previous };
  }
}

function nameOf(user: UserId, { refused, includeDisabled }: Pick<Order, "refused" | "includeDisabled">): string {
  return `${refused} ${includeDisabled} ${user}`;
}

/** The row still holds the refused key, which works. */
function isStillWorking(renewed: Renewed, refused: string): boolean {
  return renewed.status === "held" && renewed.key.hash === refused;
}

const NOTHING_RENEWED = { renewed: false, reason: null, previous: null } as const;
