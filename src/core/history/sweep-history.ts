import type { Context } from "../context.ts";

const DAY_MS = 86_400_000;

/** Removes the events that are older than they are to be kept. Returns how many. Rejects with the errors of a store. */
export async function sweepHistory(
  { historyStore, historyDays, clock }: Pick<Context, "historyStore" | "historyDays" | "clock">,
  newSignal: () => AbortSignal,
): Promise<number> {
  const before = clock.now().getTime() - historyDays() * DAY_MS;
  return historyStore.removeEventsBefore(new Date(before).toISOString(), newSignal);
}
