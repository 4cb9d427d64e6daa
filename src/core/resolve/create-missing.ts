import { RUN_FATAL_CODES } from "../model/errors.ts";
import type { ErrorCode, KeyctlError } from "../model/errors.ts";
import { WorkerPool } from "../async/worker-pool.ts";
import type { UserId } from "../model/user-id.ts";
import type { KeyBudget } from "./key-budget.ts";

/** A user of a batch, and their result where it is known without creating a key. */
export interface Member<Result> {
  readonly userId: UserId;
  readonly known: Result | undefined;
}

/** After these, there certainly is no key that the run has created. */
const NOTHING_CREATED: ReadonlySet<ErrorCode> = new Set([
  "NO_KEY",
  "KEY_EXISTS",
  "PROVISION_CAP",
  "PROVIDER_UNAVAILABLE",
  "ROW_UNREADABLE",
  "MANAGEMENT_KEY_AS_USER_KEY",
]);

/** Whether a creation that failed may have created a key all the same. */
export function mayHaveCreated({ code, mayHaveHappened }: KeyctlError): boolean {
  return mayHaveHappened || !NOTHING_CREATED.has(code);
}

export interface CreateSteps<Result> {
  readonly create: (user: UserId) => Promise<Result>;
  /** Whether a result without an error is that of a key which was created. */
  readonly isCreated: (result: Result) => boolean;
  /** The result of a user for whom the budget has no slot. */
  readonly refuse: (user: UserId, error: KeyctlError) => Result;
  readonly budget: KeyBudget;
  /** How many keys are created at the same time. */
  readonly concurrency: number;
}

/**
 * Creates a key for each user of a batch whose result is not known. Results are given as they come, in the order of the
 * users. What fails for all users is thrown when the others in flight have ended; before that every key that was
 * created is given, for it is paid. A caller that stops asking starts no more of them.
 */
export async function* createMissing<Result extends { readonly error: KeyctlError | null }>(
  batch: readonly Member<Result>[],
  { create, isCreated, refuse, budget, concurrency }: CreateSteps<Result>,
): AsyncGenerator<readonly Result[]> {
  const results = batch.map(({ known }) => known);
  const queue = batch.entries();
  const pool = new WorkerPool(concurrency);
  const stop = new AbortController();
  const createWithin = async (user: UserId): Promise<Result> => {
    while (!budget.take()) {
      stop.signal.throwIfAborted();
      if (!budget.mayGrow) return refuse(user, budget.usedUp());
      await pool.waitForChange();
    }
    let mayBeThere = true;
    try {
      const result = await create(user);
      mayBeThere = result.error === null ? isCreated(result) : mayHaveCreated(result.error);
      return result;
    } finally {
      budget.settle(mayBeThere);
    }
  };
  const work = async () => {
    for (const [index, { userId, known }] of queue) {
      if (known !== undefined) continue;
      if (stop.signal.aborted) return;
      try {
        const result = await createWithin(userId);
        if (result.error !== null && RUN_FATAL_CODES.has(result.error.code)) throw result.error;
        results[index] = result;
      } catch (thrown) {
        stop.abort(thrown);
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
    stop.signal.throwIfAborted();
  } finally {
    stop.abort();
  }
}
