import { appendEntry } from "./write-journal.ts";
import type { Context } from "../context.ts";
import type { EntryKind, EntryOf, Recorded } from "../ports/journal.ts";
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
  const requested = generationsOf("del", entries);
  return retainedGenerations(entries).filter((n) => !requested.has(n)).length;
}

/** A retained key that is marked for deletion. */
export interface RetainedKey {
  readonly n: number;
  readonly keyHash: string;
  /** OpenRouter's id of the key. */
  readonly upstreamId: string;
}

/** The outcomes of all retained keys except that of the generation in the row, which follows an order of its own. */
export function retainedOutcomes(entries: readonly Recorded[], current: number | null = null): readonly SavedKey[] {
  return savedAmong(
    retainedGenerations(entries).filter((n) => n !== current),
    entries,
  );
}

type SavedKey = Extract<Recorded<EntryOf<"out">>, { outcome: "saved" }>;

function savedAmong(generations: readonly number[], entries: readonly Recorded[]): readonly SavedKey[] {
  return entries.flatMap((entry) =>
    entry.kind === "out" && entry.outcome === "saved" && generations.includes(entry.n) ? [entry] : [],
  );
}

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
  const retained = retainedGenerations(entries).filter((n) => n !== current);
  return requestDeletions(user, { retained, entries }, context, signal);
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
  const gone = generationsOf("gone", entries);
  const retained = [...generationsOf("due", entries)].filter((n) => n !== current && !gone.has(n));
  return requestDeletions(user, { retained, entries }, context, signal);
}

async function requestDeletions(
  user: UserId,
  { retained, entries }: { readonly retained: readonly number[]; readonly entries: readonly Recorded[] },
  context: Pick<Context, "journal" | "clock">,
  signal: AbortSignal,
): Promise<readonly RetainedKey[]> {
  const requested = generationsOf("del", entries);
  for (const n of retained) if (!requested.has(n)) await appendEntry(user, { kind: "del", n }, context, signal);
  return savedAmong(retained, entries).map(({ n, hash, upstreamHash }) => ({
    n,
    keyHash: hash,
    upstreamId: upstreamHash ?? hash,
  }));
}

/** The generations with an entry of this kind. */
function generationsOf(kind: EntryKind, entries: readonly Recorded[]): ReadonlySet<number> {
  return new Set(entries.flatMap((entry) => (entry.kind === kind ? [entry.n] : [])));
}
