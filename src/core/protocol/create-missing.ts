import { RUN_FATAL_CODES, STORE_FAILURES } from "../model/errors.ts";
import type { ErrorCode, KeyctlError } from "../model/errors.ts";
import { WorkerPool } from "../async/worker-pool.ts";
import type { UserId } from "../model/user-id.ts";
import type { KeyBudget } from "./key-budget.ts";

/** A user of a batch. `known` is the result if it is known without creating a key. */
export interface Member<Result> {
  readonly userId: UserId;
  readonly known: Result | undefined;
}

/** Errors after which the run has certainly created no key. */
const NOTHING_CREATED: ReadonlySet<ErrorCode> = new Set([
  "NO_KEY",
  "KEY_EXISTS",
  "KEY_INVALID",
  "FOREIGN_KEY",
  "PROVISION_CAP",
  "PROVIDER_UNAVAILABLE",
  "PROVISION_REFUSED",
  "ROW_UNREADABLE",
  "MANAGEMENT_KEY_AS_USER_KEY",
]);

/** Whether a failed creation may have created a key anyway. */
export function mayHaveCreated({ code, mayHaveHappened }: KeyctlError): boolean {
  return mayHaveHappened || !NOTHING_CREATED.has(code);
}

export interface CreateSteps<Result> {
  /** Undefined for a user who was not reached before the stop. */
  readonly create: (user: UserId) => Promise<Result | undefined>;
  /** Whether a result without an error belongs to a key that was created. */
  readonly isCreated: (result: Result) => boolean;
  /** The result of a user for whom the budget has no slot left. */
  readonly refuse: (user: UserId, error: KeyctlError) => Result;
  readonly budget: KeyBudget;
  /** How many keys are created at once. */
  readonly concurrency: number;
  /** Begins no further creation and finishes those in flight. Users who were not reached have no result. */
  readonly stop: AbortSignal | undefined;
}

/**
 * Creates a key for each user of a batch whose result is not known. Yields results as they arrive, in the order of the
 * users. Throws a failure that concerns all users after the creations in flight have ended. Before that it yields every
 * created key, because it is paid for, and every user for whom the store failed, because a key may wait in the spool.
 * Begins no further creation if the caller stops iterating.
 */
export async function* createMissing<Result extends { readonly error: KeyctlError | null }>(
  batch: readonly Member<Result>[],
  steps: CreateSteps<Result>,
): AsyncGenerator<readonly Result[]> {
  const run = new CreationRun(batch, steps);
  try {
    yield* run.results();
  } finally {
    run.cancel();
  }
}

class CreationRun<Result extends { readonly error: KeyctlError | null }> {
  readonly #steps: CreateSteps<Result>;
  readonly #results: (Result | undefined)[];
  readonly #queue: ArrayIterator<[number, Member<Result>]>;
  readonly #pool: WorkerPool;
  readonly #failed = new AbortController();
  #given = 0;

  constructor(batch: readonly Member<Result>[], steps: CreateSteps<Result>) {
    this.#steps = steps;
    this.#results = batch.map(({ known }) => known);
    this.#queue = batch.entries();
    this.#pool = new WorkerPool(steps.concurrency);
  }

  async *results(): AsyncGenerator<readonly Result[]> {
    while (!this.#pool.isFull) this.#pool.start(() => this.#work());
    for (;;) {
      const next = this.#takeReady();
      if (next.length > 0) yield next;
      else if (this.#pool.isIdle) break;
      else await this.#pool.waitForChange();
    }
    const rest = this.#results.slice(this.#given).filter((result) => result !== undefined);
    if (rest.length > 0) yield rest;
    this.#failed.signal.throwIfAborted();
  }

  /** Begins no further creation. */
  cancel(): void {
    this.#failed.abort();
  }

  get #isOver(): boolean {
    return this.#failed.signal.aborted || this.#steps.stop?.aborted === true;
  }

  async #work(): Promise<void> {
    for (const [index, { userId, known }] of this.#queue) {
      if (known !== undefined) continue;
      if (this.#isOver) return;
      try {
        const result = await this.#createWithinBudget(userId);
        const code = result?.error?.code;
        const isFatal = code !== undefined && RUN_FATAL_CODES.has(code);
        if (!isFatal || STORE_FAILURES.has(code)) this.#results[index] = result;
        if (isFatal) throw result?.error;
      } catch (thrown) {
        this.#failed.abort(thrown);
      }
      this.#pool.wake();
    }
  }

  /** Undefined for a user who was not reached. */
  async #createWithinBudget(user: UserId): Promise<Result | undefined> {
    const { create, isCreated, refuse, budget } = this.#steps;
    while (!budget.take()) {
      if (!budget.mayGrow) return refuse(user, budget.usedUp());
      await this.#pool.waitForChange();
      if (this.#isOver) return undefined;
    }
    let mayBeThere = true;
    try {
      const result = await create(user);
      if (result === undefined) mayBeThere = false;
      else mayBeThere = result.error === null ? isCreated(result) : mayHaveCreated(result.error);
      return result;
    } finally {
      budget.settle(mayBeThere);
    }
  }

  /** The results before the first one that is still missing. */
  #takeReady(): readonly Result[] {
    const gap = this.#results.indexOf(undefined, this.#given);
    const next = this.#results.slice(this.#given, gap === -1 ? undefined : gap);
    this.#given += next.length;
    return next.filter((result) => result !== undefined);
  }
}
