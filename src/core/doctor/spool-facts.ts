import type { Journal } from "../ports/journal.ts";
import type { Spool } from "../ports/spool.ts";

/** The number of keys that wait on this machine: for this database, and for others. */
export interface SpoolFacts {
  readonly own: number;
  readonly elsewhere: number;
}

/** If the database does not tell its deployment id, all waiting keys count as those of another database. */
export async function spoolFacts(
  { spool, store }: { readonly spool: Pick<Spool, "counts">; readonly store: Pick<Journal, "existingDeployment"> },
  signal: AbortSignal,
): Promise<SpoolFacts> {
  const counts = await spool.counts();
  if (counts.size === 0) return { own: 0, elsewhere: 0 };
  const deployment = await store.existingDeployment(signal).catch(() => undefined);
  const own = deployment === undefined ? 0 : (counts.get(deployment) ?? 0);
  return { own, elsewhere: [...counts.values()].reduce((sum, count) => sum + count, 0) - own };
}
