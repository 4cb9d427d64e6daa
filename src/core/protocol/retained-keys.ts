import { appendEntry } from "./write-journal.ts";
import type { Context } from "../context.ts";
import type { EntryOf, Recorded } from "../ports/journal.ts";
import type { UserId } from "../model/user-id.ts";

/**
 * Retained keys: keyctl created them, they were replaced or purged, and their deletion at OpenRouter was not requested, or
 * is due later. `purge --revoke` deletes them with the current key.
 */

/** The retained generations in order, including those whose deletion was requested later. */
function retainedGenerations(entries: readonly Recorded[]): readonly number[] {
  return [...new Set(entries.flatMap((entry) => (isRetention(entry) ? [entry.n] : [])))];
}

/** A retirement is recorded before the revocation that goes with it. */
function isRetention(entry: Recorded): boolean {
  return entry.kind === "due" || (entry.kind === "rev" && !entry.revoke);
}

/** How many keys are retained and not marked for deletion. */
export function countRetained(entries: readonly Recorded[]): number {
  const requested = requestedDeletions(entries);
  return retainedGenerations(entries).filter((n) => !requested.has(n)).length;
}

/** A retained key that is marked for deletion. */
export interface RetainedKey {
  readonly n: number;
  /** OpenRouter's id of the key. */
  readonly upstreamId: string;
}

/** The outcomes of all retained keys except that of the generation in the row, which follows an order of its own. */
export function retainedOutcomes(entries: readonly Recorded[], current: number | null = null): readonly SavedKey[] {
  const retained = retainedGenerations(entries).filter((n) => n !== current);
  return entries.flatMap((entry) =>
    entry.kind === "out" && entry.outcome === "saved" && retained.includes(entry.n) ? [entry] : [],
  );
}

type SavedKey = Extract<Recorded<EntryOf<"out">>, { outcome: "saved" }>;

/**
 * Marks all retained keys of a user for deletion, and returns them. Reconcile finishes a purge that dies after this.
 * @param current the generation in the row, which follows an order of its own; null without a row
 */
export async function requestRetainedDeletions(
  user: UserId,
  current: number | null,
  context: Pick<Context, "journal" | "clock">,
  signal: AbortSignal,
): Promise<readonly RetainedKey[]> {
  const entries = await context.journal.entries(user, signal);
  const requested = requestedDeletions(entries);
  const retained = retainedGenerations(entries).filter((n) => n !== current);
  for (const n of retained) if (!requested.has(n)) await appendEntry(user, { kind: "del", n }, context, signal);
  return retainedOutcomes(entries, current).map(asRetained);
}

/**
 * Marks the keys that are in a grace for deletion, which ends it, and returns them and those whose deletion is not proven yet.
 * @param current the generation in the row, which follows an order of its own
 */
export async function requestRetirements(
  user: UserId,
  current: number,
  context: Pick<Context, "journal" | "clock">,
  signal: AbortSignal,
): Promise<readonly RetainedKey[]> {
  const entries = await context.journal.entries(user, signal);
  const numbers = (kind: Recorded["kind"]) =>
    new Set(entries.flatMap((entry) => (entry.kind === kind ? [entry.n] : [])));
  const [requested, gone] = [numbers("del"), numbers("gone")];
  const due = [...numbers("due")].filter((n) => n !== current && !gone.has(n));
  for (const n of due) if (!requested.has(n)) await appendEntry(user, { kind: "del", n }, context, signal);
  return retainedOutcomes(entries, current)
    .filter(({ n }) => due.includes(n))
    .map(asRetained);
}

function asRetained({ n, hash, upstreamHash }: SavedKey): RetainedKey {
  return { n, upstreamId: upstreamHash ?? hash };
}

function requestedDeletions(entries: readonly Recorded[]): ReadonlySet<number> {
  return new Set(entries.flatMap(({ kind, n }) => (kind === "del" ? [n] : [])));
}
