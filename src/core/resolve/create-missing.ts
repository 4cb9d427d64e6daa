import { RUN_FATAL_CODES, STORE_FAILURES } from "../model/errors.ts";
import type { KeyctlError } from "../model/errors.ts";
import { WorkerPool } from "../async/worker-pool.ts";
import type { UserId } from "../model/user-id.ts";
import type { KeyBudget } from "./key-budget.ts";

/** A user of a batch, and their result where it is known without creating a key. */
export interface Member<Result> {
  readonly userId: UserId;
  readonly known: Result | undefined;
}

export interface CreateSteps<Result> {
  readonly create: (user: UserId) => Promise<Result>;
  /** False: no key was created for this result, for certain. */
  readonly mayHaveCreated: (result: Result) => boolean;
  /** The result of a user for whom the budget has no slot. */
  readonly refuse: (user: UserId, error: KeyctlError) => Result;
  readonly budget: KeyBudget;
  /** How many keys are created at the same time. */
  readonly concurrency: number;
  /** Begins no more of them, and ends those in flight: users that were not come to have no result. */
  readonly stop: AbortSignal | undefined;
}

/**
 * Creates a key for each user of a batch whose result is not known. Results are given as they come, in the order of the
 * users. What fails for all users is thrown when the others in flight have ended; before that every key that was
 * created is given, for it is paid, and every user for whom the store failed, since a key may wait for it. A caller that
 * stops asking starts no more of them.
 */
export async function* createMissing<Result extends { readonly error: KeyctlError | null }>(
  batch: readonly Member<Result>[],
  { create, mayHaveCreated, refuse, budget, concurrency, stop }: CreateSteps<Result>,
): AsyncGenerator<readonly Result[]> {
  const results = batch.map(({ known }) => known);
  const queue = batch.entries();
  const pool = new WorkerPool(concurrency);
  const failed = new AbortController();
  const begins = () => !failed.signal.aborted && stop?.aborted !== true;
  const createWithin = async (user: UserId): Promise<Result | undefined> => {
    while (!budget.take()) {
      if (!budget.mayGrow) return refuse(user, budget.usedUp());
      await pool.waitForChange();
      if (!begins()) return undefined;
    }
    let mayBeThere = true;
    try {
      const result = await create(user);
      mayBeThere = mayHaveCreated(result);
      return result;
    } finally {
      budget.settle(mayBeThere);
    }
  };
  const work = async () => {
    for (const [index, { userId, known }] of queue) {
      if (known !== undefined) continue;
      if (!begins()) return;
      try {
        const result = await createWithin(userId);
        const code = result?.error?.code;
        if (code === undefined || !RUN_FATAL_CODES.has(code) || STORE_FAILURES.has(code)) results[index] = result;
        if (code !== undefined && RUN_FATAL_CODES.has(code)) throw result?.error;
      } catch (thrown) {
        failed.abort(thrown);
      }
      pool.wake();
    }
  };
  while (!pool.isFull) pool.start(work);

  let given = 0;
  const ready = (): readonly Result[] => {
    const gap = results.indexOf(undefined, given);
    const next = results.slice(given, gap === -1 ? undefined : gap);
    given += next.length;
    return next.filter((result) => result !== undefined);
  };
  try {
    for (;;) {
      const next = ready();
      if (next.length > 0) yield next;
      else if (pool.isIdle) break;
      else await pool.waitForChange();
    }
    const rest = results.slice(given).filter((result) => result !== undefined);
    if (rest.length > 0) yield rest;
    failed.signal.throwIfAborted();
  } finally {
    failed.abort();
  }
}
