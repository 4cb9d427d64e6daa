import type { CallOptions } from "../async/deadline.ts";
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
import { isKeyctlError } from "../model/errors.ts";
import { checkedNumber, MOST_AT_ONCE, ROTATED_AT_ONCE } from "../model/number-options.ts";
import { renewFailed, renewPreviewFailed } from "../model/renew-results.ts";
import type { RenewPreview, RenewResult } from "../model/renew-results.ts";
import type { ResultBatches } from "../model/results.ts";
import type { UserBatches, UserId } from "../model/user-id.ts";
import type { OpenWork } from "../open-work.ts";
import { createMissing, mayHaveCreated } from "../protocol/create-missing.ts";
import { findKey } from "../protocol/find-key.ts";
import { KeyBudget } from "../protocol/key-budget.ts";
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
export interface RefusedCall extends CallOptions {
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
  async renewRefused(userId: string, { key, includeDisabled, autoProvision, ...options }: RefusedCall) {
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
      this.renewRefused(userId, { ...limits, key, includeDisabled: renewDisabled, autoProvision });
    return callWithKey(call, { find, renew, log }, options);
  }

  /** Several at once. Throws a failure that concerns all users. */
  async *renewMany(batches: UserBatches, options: RenewManyOptions): ResultBatches<RenewResult> {
    const { concurrency = ROTATED_AT_ONCE, maxKeys, stop, ...one } = options;
    checkedNumber("concurrency", concurrency, { from: 1, to: MOST_AT_ONCE, whole: true });
    const budget = budgetOf(maxKeys);
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
  async *previewMany(batches: UserBatches, options: RenewManyOptions): ResultBatches<RenewPreview> {
    const { maxKeys, includeDisabled = false } = options;
    const budget = budgetOf(maxKeys);
    for await (const batch of batches) {
      const previews: RenewPreview[] = [];
      for (const userId of batch) {
        const preview = await this.#work.run<RenewPreview>(userId, options, renewPreviewFailed, (user, signal) =>
          previewRenewal(user, includeDisabled, this.#context, signal),
        );
        const isLeft = preview.action === "create" && !budget.take();
        previews.push(isLeft ? { ...preview, action: "none", reason: null, error: budget.usedUp() } : preview);
      }
      yield previews;
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

  #shared(user: UserId, order: Order, waiting: AbortSignal): Promise<RenewResult | "absent"> {
    const { refused, includeDisabled, isAuto, asksAgain } = order;
    const kind = `renew ${refused} ${includeDisabled} ${isAuto} ${asksAgain}`;
    return this.#runs.run(
      user,
      kind,
      (onStage, signal) => this.#work.noted(() => this.#renewal(user, order, onStage, signal)),
      waiting,
    );
  }

  async #renewal(
    user: UserId,
    { budget, context, asksAgain, ...order }: Order,
    onStage: (stage: Stage) => void,
    signal: AbortSignal,
  ): Promise<RenewResult | "absent"> {
    const name = `${order.refused} ${order.includeDisabled} ${user}`;
    let isAsked = false;
    const slot = new BudgetSlot(budget);
    try {
      const known = () => {
        const answered = asksAgain ? undefined : this.#backOff.known(name);
        isAsked = answered === undefined;
        return answered;
      };
      const task = { ...order, known, beforeCreation: () => slot.take(), onStage };
      const renewed = await renewKey(user, task, context, signal);
      slot.settle(renewed.status === "renewed");
      if (renewed.status === "renewed") this.#backOff.remove(name);
      else if (isAsked && isStillWorking(renewed, order.refused)) this.#backOff.add(name, null);
      return await this.#resultOf(renewed);
    } catch (thrown) {
      slot.settle(isKeyctlError(thrown) && mayHaveCreated(thrown));
      if (isAsked && isKeyctlError(thrown)) this.#backOff.add(name, thrown);
      throw thrown;
    }
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

/** The row still holds the refused key, which works. */
function isStillWorking(renewed: Renewed, refused: string): boolean {
  return renewed.status === "held" && renewed.key.hash === refused;
}

const NOTHING_RENEWED = { renewed: false, reason: null, previous: null } as const;

/** One slot of a run's budget, taken when a key is about to be created. */
class BudgetSlot {
  readonly #budget: KeyBudget | null;
  #isTaken = false;

  constructor(budget: KeyBudget | null) {
    this.#budget = budget;
  }

  /** Throws PROVISION_CAP. */
  take(): void {
    if (this.#budget === null) return;
    if (!this.#budget.take()) throw this.#budget.usedUp();
    this.#isTaken = true;
  }

  settle(mayBeThere: boolean): void {
    if (this.#isTaken) this.#budget?.settle(mayBeThere);
    this.#isTaken = false;
  }
}

/** Throws USAGE. */
function budgetOf(maxKeys: number | undefined): KeyBudget {
  const most = maxKeys ?? Number.POSITIVE_INFINITY;
  if (maxKeys !== undefined) {
    checkedNumber("maxKeys", maxKeys, { from: 0, to: Number.MAX_SAFE_INTEGER, whole: true });
  }
  return new KeyBudget(most, "renew");
}
