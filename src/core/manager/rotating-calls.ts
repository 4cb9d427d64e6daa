import { countDuties, finishDue } from "../change/rotate/finish-due.ts";
import { previewRotation, rotateKey } from "../change/rotate/rotate-key.ts";
import { previewRotateMany, rotateMany } from "../change/rotate/rotate-many.ts";
import type { CallOptions } from "../async/deadline.ts";
import { waitForRetirement } from "../change/rotate/wait-for-retirement.ts";
import { contextFor } from "./event-calls.ts";
import type { ManagerContext, RotateManyOptions, RotateOptions } from "./manager-options.ts";
import { KeyctlError } from "../model/errors.ts";
import { LONGEST_GRACE_MS } from "../model/grace.ts";
import { checkedNumber, checkConcurrency, ROTATED_AT_ONCE } from "../model/number-options.ts";
import { checkedExpiry, HIGHEST_LIMIT } from "../model/provision-terms.ts";
import type { ResultBatches } from "../model/results.ts";
import { rotateFailed, rotatePreviewFailed } from "../model/rotate-results.ts";
import type { Duty, DutyCounts, RotatePreview, RotateResult, RotateTask } from "../model/rotate-results.ts";
import type { KeyRecord } from "../model/key-record.ts";
import type { UserIdBatches, UserId } from "../model/user-id.ts";
import type { OpenWork } from "../open-work.ts";
import { budgetFor } from "../protocol/key-budget.ts";
import { LONGEST_MS } from "../text/duration.ts";

/** The rotations of one manager. */
export class RotatingCalls {
  readonly #context: ManagerContext;
  readonly #work: OpenWork;

  constructor(context: ManagerContext, work: OpenWork) {
    this.#context = context;
    this.#work = work;
  }

  async rotate(userId: string, options: RotateOptions): Promise<RotateResult> {
    const timeoutMs = options.timeoutMs ?? this.#context.makingTimeoutMs;
    const limits = { signal: options.signal, timeoutMs };
    let replaced: KeyRecord | undefined;
    const result = await this.#work.run(userId, limits, rotateFailed, async (user, signal) => {
      const run = { ...this.#taskOf(options), onReplaced: (row: KeyRecord) => (replaced = row) };
      return rotateKey(user, run, contextFor(this.#context, options), signal);
    });
    if (options.wait !== true || replaced === undefined) return result;
    const old = replaced;
    const context = contextFor(this.#context, options);
    // The wait lasts as long as the grace, which no time limit of a call cuts short.
    const signal = options.signal ?? new AbortController().signal;
    return this.#work.withWarnings(await this.#work.noted(() => waitForRetirement(result, old, context, signal)));
  }

  async *rotateMany(batches: UserIdBatches, options: RotateManyOptions): ResultBatches<RotateResult> {
    const { concurrency = ROTATED_AT_ONCE, ratePerSecond = Number.POSITIVE_INFINITY, maxFailures, stop } = options;
    checkConcurrency(concurrency);
    if (options.ratePerSecond !== undefined) checkedNumber("ratePerSecond", ratePerSecond, { from: 0.001, to: 1000 });
    const task = this.#taskOf(options);
    yield* rotateMany(batches, this.#context, {
      ...this.#selectionOf(options),
      concurrency,
      ratePerSecond,
      maxFailures,
      stop,
      previewOne: this.#previewOf(task, options),
      rotateOne: (user) =>
        this.rotate(user, { ...task, signal: options.signal, timeoutMs: options.timeoutMs, reason: options.reason }),
    });
  }

  async *previewMany(batches: UserIdBatches, options: RotateManyOptions): ResultBatches<RotatePreview> {
    const previewOne = this.#previewOf(this.#taskOf(options), options);
    yield* previewRotateMany(batches, this.#context, { ...this.#selectionOf(options), previewOne });
  }

  #previewOf(task: RotateTask, options: CallOptions): (user: UserId) => Promise<RotatePreview> {
    return (user) =>
      this.#work.run<RotatePreview>(user, options, rotatePreviewFailed, (parsed, signal) =>
        previewRotation(parsed, task, this.#context, signal),
      );
  }

  async *finishDue(options: CallOptions): AsyncGenerator<Duty> {
    yield* this.#work.notedEach(finishDue(contextFor(this.#context, options), this.#work.newSignal(options)));
  }

  async dueDuties(options: CallOptions): Promise<DutyCounts> {
    return countDuties(this.#context, this.#work.newSignal(options));
  }

  /** Throws USAGE, CONFIG_EMPTY, CONFIG_INVALID. */
  #taskOf(options: RotateOptions): RotateTask {
    const {
      limit = "keep",
      expiresInMs,
      expiresAt,
      includeDisabled = false,
      foreign = "refuse",
      wait = false,
    } = options;
    const graceMs = options.graceMs ?? this.#context.rotateGraceMs();
    checkedNumber("graceMs", graceMs, { from: 0, to: LONGEST_GRACE_MS });
    if (expiresInMs != null) checkedNumber("expiresInMs", expiresInMs, { from: 1, to: LONGEST_MS });
    if (typeof limit === "number") checkedNumber("limit", limit, { from: 0, to: HIGHEST_LIMIT });
    if (foreign === "revoke" && graceMs > 0) {
      throw new KeyctlError("USAGE", "a key that keyctl did not create is removed at once: it can have no grace", {
        hint: "--grace 0 --revoke-foreign",
      });
    }
    return { graceMs, limit, expiresInMs, expiresAt: checkedExpiry(expiresAt), includeDisabled, foreign, wait };
  }

  #selectionOf(options: RotateManyOptions) {
    const { olderThanMs, expiresWithinMs, verdict, maxKeys } = options;
    return {
      filter: { olderThanMs, expiresWithinMs, verdict },
      budget: budgetFor(maxKeys, "rotate"),
      newSignal: this.#work.newSignal(options),
    };
  }
}
