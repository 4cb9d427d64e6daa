import { isKeyctlError, KeyctlError } from "../model/errors.ts";
import { appendEntry } from "./write-journal.ts";
import type { JournalContext } from "./write-journal.ts";
import type { EntryOf } from "../ports/journal.ts";
import { NO_TERMS, termsOf } from "../model/key-record.ts";
import type { KeyRecord, Previous } from "../model/key-record.ts";
import type { KeyStore } from "../ports/stores-and-sources.ts";
import { printable } from "../text/printable.ts";
import { removeRow, replaceRow } from "./write-row.ts";

/**
 * SETTLE: what everybody does with an unsettled row that they have read. A row of generation n is current once `out:n` is
 * saved; until then what it replaced is. S1 before S2: a predecessor is revoked only when its successor can no longer be
 * undone. S2 before any write over the row, or removal of it: else the note of the predecessor is lost.
 */
export interface ProtocolContext extends JournalContext {
  readonly store: KeyStore;
}

/** S1. False: this generation was decided against and is out of the row; read it again. */
export async function confirmGeneration(
  row: KeyRecord,
  context: ProtocolContext,
  signal: AbortSignal,
): Promise<boolean> {
  if (row.generation === 0 || row.settled) return true;
  const { userId, generation: n } = row;
  const outcome = (await context.journal.entry(userId, "out", n, signal)) ?? (await recordSaved(row, context, signal));
  if (outcome.outcome === "saved") return true;
  await rollBackRow(row, context, signal);
  return false;
}

/**
 * The row as what it really is: one whose key is not that of its generation was written over by a program that does not
 * count, so it is of generation 0 and its key is nobody's that keyctl made. Of an unsettled row, S1 has the last word.
 */
export async function withTrueGeneration(
  row: KeyRecord,
  { journal }: JournalContext,
  signal: AbortSignal,
): Promise<KeyRecord> {
  if (row.generation === 0 || !row.settled) return row;
  return demoteIfOverwritten(row, await journal.entry(row.userId, "out", row.generation, signal));
}

/** As `asItIs`, by the outcome of the row's generation. */
export function demoteIfOverwritten(row: KeyRecord, outcome: EntryOf<"out"> | undefined): KeyRecord {
  const isAnother = row.generation > 0 && outcome?.outcome === "saved" && outcome.hash !== row.keyHash;
  return isAnother ? { ...row, ...NO_TERMS, generation: 0 } : row;
}

/** Only whoever has seen generation n in the row may say so. Gives what stands there then. */
export function recordSaved(
  { userId, generation: n, keyHash, upstreamHash }: KeyRecord,
  context: JournalContext,
  signal: AbortSignal,
): Promise<EntryOf<"out">> {
  if (keyHash === null) throw corrupt(`the row of user ${printable(userId)} has no hash`);
  return appendEntry(userId, { kind: "out", n, outcome: "saved", hash: keyHash, upstreamHash }, context, signal);
}

/** The row as it was before a generation that was decided against took its place. A lost race is somebody else's doing. */
export async function rollBackRow(row: KeyRecord, { store }: ProtocolContext, signal: AbortSignal): Promise<void> {
  const { previous } = row;
  if (previous === null) await removeRow(store, row.userId, row, signal);
  else await replaceRow(store, previousRow(row, previous), row, signal);
}

/** S2: what the row replaced is retired, and its removal owed where that was asked for. */
export async function revokePredecessor({ userId, previous }: KeyRecord, context: JournalContext, signal: AbortSignal) {
  if (previous === null || previous.generation === 0) return;
  await recordRevocation(userId, previous.generation, "superseded", previous.revoke, context, signal);
}

/** `rev:n`, and `del:n` where a revocation stands that keeps the key, and it is to go after all. */
export async function recordRevocation(
  user: KeyRecord["userId"],
  n: number,
  reason: "superseded" | "purged",
  revoke: boolean,
  context: JournalContext,
  signal: AbortSignal,
): Promise<void> {
  const stands = await appendEntry(user, { kind: "rev", n, reason, revoke }, context, signal);
  if (revoke && !stands.revoke) await appendEntry(user, { kind: "del", n }, context, signal);
}

/** S3. Losing it is harmless. */
export async function markSettled(row: KeyRecord, { store }: ProtocolContext, signal: AbortSignal): Promise<boolean> {
  return replaceRow(store, settledRow(row), row, signal);
}

/** S3 of a row's owner, who has nothing to lose by a store that fails now. */
export async function markOwnSettled(row: KeyRecord, { store }: ProtocolContext, signal: AbortSignal): Promise<void> {
  try {
    await store.replace(settledRow(row), row, signal);
  } catch (thrown) {
    if (!isKeyctlError(thrown) && !signal.aborted) throw thrown;
  }
}

export function settledRow(row: KeyRecord): KeyRecord {
  return { ...row, settled: true, previous: null, revision: (row.revision ?? 0) + 1 };
}

/** What it takes to find, and where possible to put back, the key that a row holds now. */
export function previousOf(row: KeyRecord, revoke: boolean, keyEncrypted: string | null): Previous {
  const { generation, keyHash, keyTail, origin, createdAt, lastValidated, lastCheck } = row;
  const key = { generation, keyHash, keyEncrypted, keyTail, origin, createdAt, lastValidated, lastCheck };
  return { revoke, ...key, ...termsOf(row) };
}

/** The row that a roll-back leaves. */
export function previousRow(row: KeyRecord, previous: Previous): KeyRecord {
  const { revoke: _revoke, keyEncrypted, ...before } = previous;
  if (keyEncrypted === null) throw corrupt(`what user ${printable(row.userId)} had before is not in the row any more`);
  return { ...settledRow(row), ...before, keyEncrypted };
}

function corrupt(message: string): KeyctlError {
  return new KeyctlError("STORE_CORRUPT", message, { hint: "keyctl doctor --deep" });
}
