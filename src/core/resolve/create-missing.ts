import { CONCERNS_ALL } from "../errors.ts";
import { Pool } from "../pool.ts";
import type { SyncResult } from "../results.ts";

const CREATED_AT_ONCE = 8;

/**
 * Resolves each user of a batch who has no key, a few at a time. Results are given as they come, in the order of the
 * users. What fails for all users is thrown when the others in flight have ended; before that every key that was
 * created is given, for it is paid. A caller that stops asking starts no more of them.
 */
export async function* createMissing(
  batch: readonly SyncResult[],
  resolve: (user: string) => Promise<SyncResult>,
): AsyncGenerator<readonly SyncResult[]> {
  const results = batch.map((result) => (result.error?.code === "NO_KEY" ? undefined : result));
  const queue = batch.entries();
  const pool = new Pool(CREATED_AT_ONCE);
  const stop = new AbortController();
  const work = async () => {
    for (const [index, { userId }] of queue) {
      if (results[index] !== undefined) continue;
      if (stop.signal.aborted) return;
      try {
        const result = await resolve(userId);
        if (result.error !== null && CONCERNS_ALL.has(result.error.code)) throw result.error;
        results[index] = result;
        pool.notify();
      } catch (thrown) {
        stop.abort(thrown);
      }
    }
  };
  while (!pool.isFull) pool.start(work);

  let given = 0;
  const ready = (): readonly SyncResult[] => {
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
      else await pool.change();
    }
    const rest = results.slice(given).filter((result) => result !== undefined);
    if (rest.length > 0) yield rest;
    stop.signal.throwIfAborted();
  } finally {
    stop.abort();
  }
}
