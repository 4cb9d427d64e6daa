import type { Journal } from "../ports/journal.ts";
import type { Spool } from "../ports/spool.ts";

/** How many keys wait on this machine for the database, and for others. */
export interface SpoolFacts {
  readonly own: number;
  readonly elsewhere: number;
}

/** Where the database does not say which one it is, its keys are counted as those of another. */
export async function spoolFacts(
  { spool, store }: { readonly spool: Pick<Spool, "counts">; readonly store: Pick<Journal, "deployment"> },
  signal: AbortSignal,
): Promise<SpoolFacts> {
  const counts = await spool.counts();
  if (counts.size === 0) return { own: 0, elsewhere: 0 };
  const deployment = await store.deployment(signal).catch(() => undefined);
  const own = deployment === undefined ? 0 : (counts.get(deployment) ?? 0);
  return { own, elsewhere: [...counts.values()].reduce((sum, count) => sum + count, 0) - own };
}
