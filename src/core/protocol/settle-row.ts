import { isKeyctlError, KeyctlError } from "../model/errors.ts";
import { appendEntry } from "./write-journal.ts";
import type { EntryOf } from "../ports/journal.ts";
import { comingIntoUse, keyOfRow } from "../model/history-event.ts";
import type { KeyOfEvent } from "../model/history-event.ts";
import { NO_TERMS, termsOf } from "../model/key-record.ts";
import type { KeyRecord, Previous, Timestamp } from "../model/key-record.ts";
import type { Context } from "../context.ts";
import { printable } from "../text/printable.ts";
import { removeRow, replaceRow } from "./write-row.ts";

/**
 * What every command does with an unsettled row that it has read. A row of generation n is current once `out:n` is saved;
 * until then, the row that it replaced is current.
 * **Order:** (1) RECORD OUTCOME, or roll the row back; (2) REVOKE PREDECESSOR; (3) SETTLE. A predecessor is revoked only when
 * its successor can no longer be undone, and before the row is overwritten or removed, which loses the note of it. A grace
 * counts from the recorded outcome, not from the rotation's own clock: a rotation that died before it is completed days
 * later, and until then the predecessor was current. Every command computes the same time.
 */

/**
 * RECORD OUTCOME. Appends the `saved` outcome of the row's generation if there is none. False if the generation was
 * abandoned: the row has then been rolled back and must be read again.
 */
export async function confirmGeneration(
  row: KeyRecord,
  context: Pick<Context, "store" | "journal" | "clock" | "history">,
  signal: AbortSignal,
): Promise<boolean> {
  if (row.generation === 0 || row.settled) return true;
  const { userId, generation: n } = row;
  const known = await context.journal.entry(userId, "out", n, signal);
  const outcome = known ?? (await recordSaved(row, context, signal));
  if (outcome.outcome === "saved") {
    const event = comingIntoUse(row);
    if (known === undefined) context.history.note({ event, userId, key: keyOfRow(row), isFinished: true });
    return true;
  }
  await rollBackRow(row, context, signal);
  return false;
}

/**
 * The row with its true generation: 0 if the key is not the one of its generation, because a program that counts no
 * generations has overwritten it. For an unsettled row, RECORD OUTCOME decides.
 */
export async function withTrueGeneration(
  row: KeyRecord,
  { journal }: Pick<Context, "journal">,
  signal: AbortSignal,
): Promise<KeyRecord> {
  if (row.generation === 0 || !row.settled) return row;
  return demoteIfOverwritten(row, await journal.entry(row.userId, "out", row.generation, signal));
}

/** As `withTrueGeneration`, by the outcome of the row's generation. */
export function demoteIfOverwritten(row: KeyRecord, outcome: EntryOf<"out"> | undefined): KeyRecord {
  const isAnother = row.generation > 0 && outcome?.outcome === "saved" && outcome.hash !== row.keyHash;
  return isAnother ? { ...row, ...NO_TERMS, generation: 0 } : row;
}

/** Only a command that has seen generation n in the row may append its outcome. Returns the recorded outcome. */
export function recordSaved(
  { userId, generation: n, keyHash, upstreamHash }: KeyRecord,
  context: Pick<Context, "journal" | "clock">,
  signal: AbortSignal,
): Promise<EntryOf<"out">> {
  if (keyHash === null) throw corrupt(`the row of user ${printable(userId)} has no hash`);
  return appendEntry(userId, { kind: "out", n, outcome: "saved", hash: keyHash, upstreamHash }, context, signal);
}

/** Restores the row that an abandoned generation replaced. A lost race means that another command has done so. */
export async function rollBackRow(
  row: KeyRecord,
  { store }: Pick<Context, "store">,
  signal: AbortSignal,
): Promise<void> {
  const { previous } = row;
  if (previous === null) await removeRow(store, row.userId, row, signal);
  else await replaceRow(store, previousRow(row, previous), row, signal);
}

/**
 * REVOKE PREDECESSOR: records that the replaced key is revoked, and marks it for deletion if that was requested. With a
 * grace, records when its deletion is due, and returns that time; otherwise null.
 */
export async function revokePredecessor(
  { userId, generation: successor, previous }: KeyRecord,
  context: Pick<Context, "journal" | "clock">,
  signal: AbortSignal,
): Promise<Timestamp | null> {
  if (previous === null || previous.generation === 0) return null;
  const { generation, revoke, graceMs } = previous;
  if (graceMs !== null) {
    const committed = await context.journal.entry(userId, "out", successor, signal);
    if (committed === undefined) throw corrupt(`the outcome of the key of user ${printable(userId)} is missing`);
    const retireAt = new Date(Date.parse(committed.at) + graceMs).toISOString();
    const due = await appendEntry(userId, { kind: "due", n: generation, retireAt }, context, signal);
    await appendEntry(userId, { kind: "rev", n: generation, reason: "superseded", ...KEPT_ALIVE }, context, signal);
    return due.retireAt;
  }
  await recordRevocation({ userId, generation }, { reason: "superseded", revoke, block: false }, context, signal);
  return null;
}

const KEPT_ALIVE = { revoke: false, block: false } as const;

/**
 * Appends `rev:n`, and `del:n` if an earlier revocation keeps the key and its deletion is requested now. Returns the
 * recorded revocation.
 */
export async function recordRevocation(
  { userId, generation: n }: Pick<KeyRecord, "userId" | "generation">,
  { reason, revoke, block }: Pick<EntryOf<"rev">, "reason" | "revoke" | "block">,
  context: Pick<Context, "journal" | "clock">,
  signal: AbortSignal,
): Promise<EntryOf<"rev">> {
  const recorded = await appendEntry(userId, { kind: "rev", n, reason, revoke, block }, context, signal);
  if (revoke && !recorded.revoke) await appendEntry(userId, { kind: "del", n }, context, signal);
  return recorded;
}

/**
 * Records that the key of a generation is proven to be deleted upstream. Best effort: without this note nothing is lost
 * while the store stays with its account. In another account the key is reported, because its absence proves nothing there.
 * The first to record it notes it in the history.
 */
export async function recordGone(
  user: KeyRecord["userId"],
  key: KeyOfEvent,
  { journal, clock, history }: Pick<Context, "journal" | "clock" | "history">,
  signal: AbortSignal,
): Promise<void> {
  const entry = { kind: "gone", n: key.generation, userId: user, at: clock.now().toISOString() } as const;
  const isFirst = await bestEffort(() => journal.insertEntry(entry, signal), signal);
  if (isFirst) history.note({ event: "revoked", userId: user, key });
}

/** SETTLE. False if another write came first, which is harmless. */
export async function markSettled(
  row: KeyRecord,
  { store }: Pick<Context, "store">,
  signal: AbortSignal,
): Promise<boolean> {
  return replaceRow(store, settledRow(row), row, signal);
}

/**
 * SETTLE by the command that wrote the row: a store that fails now costs nothing. True only if this write has seen the key in
 * the row: then it may be handed out.
 */
export async function markOwnSettled(
  row: KeyRecord,
  { store }: Pick<Context, "store">,
  signal: AbortSignal,
): Promise<boolean> {
  return bestEffort(
    async () => (await store.replace(settledRow(row), row, signal)) && (await store.hasAtomicChanges(signal)),
    signal,
  );
}

/** Rejects only for a bug. False for a failure. */
async function bestEffort(work: () => Promise<boolean>, signal: AbortSignal): Promise<boolean> {
  try {
    return await work();
  } catch (thrown) {
    if (!isKeyctlError(thrown) && !signal.aborted) throw thrown;
    return false;
  }
}

export function settledRow(row: KeyRecord): KeyRecord {
  return { ...row, settled: true, previous: null, revision: (row.revision ?? 0) + 1 };
}

/** What is needed to find, and if possible to restore, the key that a row holds now. */
export function previousOf(
  row: KeyRecord,
  {
    revoke,
    graceMs = null,
    keyEncrypted,
  }: Pick<Previous, "revoke" | "keyEncrypted"> & Partial<Pick<Previous, "graceMs">>,
): Previous {
  const { generation, keyHash, keyTail, origin, createdAt, lastValidated, lastCheck } = row;
  const key = { generation, keyHash, keyEncrypted, keyTail, origin, createdAt, lastValidated, lastCheck };
  const { autoRenewed, lastRenewalAt } = row;
  return { revoke, graceMs, ...key, ...termsOf(row), autoRenewed, lastRenewalAt };
}

/** The row after a roll-back. */
export function previousRow(row: KeyRecord, previous: Previous): KeyRecord {
  const { revoke: _revoke, graceMs: _graceMs, keyEncrypted, ...before } = previous;
  if (keyEncrypted === null) throw corrupt(`what user ${printable(row.userId)} had before is not in the row any more`);
  return { ...settledRow(row), ...before, keyEncrypted };
}

function corrupt(message: string): KeyctlError {
  return new KeyctlError("STORE_CORRUPT", message, { hint: "keyctl doctor --deep" });
}
