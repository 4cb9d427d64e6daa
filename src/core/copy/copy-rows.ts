import { copyAccount, refuseOtherAccount } from "./copy-account.ts";
import { isKeyctlError, KeyctlError } from "../model/errors.ts";
import { JournalCopy } from "./copy-journal.ts";
import type { JournalOutcome } from "./copy-journal.ts";
import { hashOfRecord, maskOfRecord, duplicateRowsError } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import type { KeyStore, Sealer } from "../ports/stores-and-sources.ts";
import { printable } from "../text/printable.ts";
import { rowForDestination } from "./plain-rows.ts";
import { verifyRow } from "./verify-row.ts";
import type { CopyEnd, Sides } from "./verify-row.ts";
import { insertRows } from "../protocol/write-row.ts";
import type { UserId } from "../model/user-id.ts";
import { conflictError } from "../protocol/contention.ts";
import { batched } from "../async/batched.ts";

/**
 * **Invariant:** a row moves only to where its user has none, and what is there stays. It moves as it is, but for a key in
 * plain text that the destination is to hold sealed. **Order:** (1) the journal, since a row is what its journal says; (2) the
 * rows; (3) the source once more, to verify everything: an entry is there as it was, a row is there and holds the source's
 * key, and the master keys open it.
 */

/** What became of a row of the source; without `dryRun`, each that is not in conflict comes a second time, with its proof. */
export type RowOutcome = {
  readonly kind: "row";
  /** As it stands in the destination, where it is there. */
  readonly row: KeyRecord;
  /** It was copied, and sealed on its way: the source holds it in plain text. */
  readonly wasPlain?: boolean;
} & (
  | { readonly outcome: "copied" | "kept" | "verified"; readonly error: null }
  | { readonly outcome: "conflict" | "unverified"; readonly error: KeyctlError }
);

export type CopyOutcome = RowOutcome | JournalOutcome;

export interface Copying {
  /** Says what a copy would do, and writes nothing. */
  readonly dryRun: boolean;
  readonly newSignal: () => AbortSignal;
}

/** Small enough for a commit well under 50 ms. */
const BATCH = 500;

/**
 * Batch by batch, in the order of the source. Throws what fails for all rows, and CONFLICT for a destination with the
 * journal of another deployment; what has been copied stays, and is kept the next time.
 */
export async function* copyRows(
  source: CopyEnd,
  destination: CopyEnd,
  { dryRun, newSignal }: Copying,
): AsyncGenerator<readonly CopyOutcome[]> {
  await unlockSource(source, newSignal());
  const sealer = await unlockDestination(destination, dryRun, newSignal());
  const journals = { source: source.journal, destination: destination.journal };
  await refuseOtherAccount(journals, newSignal());
  const journal = new JournalCopy(source.journal, destination.journal, dryRun);
  yield* journal.bring(newSignal);
  if (!dryRun) {
    await copyAccount(journals, newSignal());
    await bringSealChecks(source, destination, newSignal());
  }
  const inConflict = new Set<string>();
  const bring = dryRun ? compare : insertMissing;
  const to = { store: destination.store, journal, sealer: holdsSealedOnly(destination) ? sealer : null };
  for await (const rows of batched(source.store.scan(newSignal), BATCH)) {
    const outcomes = await bring(rows, to, newSignal());
    for (const { row, outcome } of outcomes) if (outcome === "conflict") inConflict.add(row.id);
    yield outcomes;
  }
  if (dryRun) return;
  // A rekey of the source may have begun meanwhile: it makes the check of a new master key before it seals a row with it.
  await bringSealChecks(source, destination, newSignal());
  yield* journal.prove(newSignal);
  for await (const rows of batched(source.store.scan(newSignal), BATCH)) {
    const others = rows.filter(({ id }) => !inConflict.has(id));
    const there = await rowsThere(others, destination.store, newSignal());
    yield await prove(others, there, { source, destination }, newSignal());
  }
}

/** Rejects with MASTER_KEY_… unless what is sealed there opens; writes nothing. A store without a check has sealed nothing. */
export async function unlockSource({ lock, sealer }: CopyEnd, signal: AbortSignal): Promise<void> {
  const checks = await lock.checks.keyCheckValues(signal);
  if (checks.length > 0) await naming("source", () => sealer("open", signal));
}

/** The sealer of the destination; null for a dry run, which needs none. */
async function unlockDestination(
  { sealer, assertCanSeal }: CopyEnd,
  dryRun: boolean,
  signal: AbortSignal,
): Promise<Sealer | null> {
  return naming("destination", async () => {
    if (!dryRun) return sealer("seal", signal);
    await assertCanSeal(signal);
    return null;
  });
}

/** No other program reads an embedded store, whose first master key is made by itself. */
function holdsSealedOnly({ requireSealed, lock }: CopyEnd): boolean {
  return requireSealed || lock.mayGenerate;
}

/** Sealed values move as they are: the destination, too, is then sealed with each master key of the source. */
async function bringSealChecks(source: CopyEnd, destination: CopyEnd, signal: AbortSignal): Promise<void> {
  const checks = await source.lock.checks.keyCheckValues(signal);
  for (const check of checks) await destination.lock.checks.addKeyCheckValue(check, signal);
}

/** With two stores, it must be said which of them the master keys do not open. */
async function naming<Result>(name: "source" | "destination", work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (thrown) {
    if (!isKeyctlError(thrown) || thrown.code !== "MASTER_KEY_WRONG") throw thrown;
    throw new KeyctlError(thrown.code, `the ${name} is sealed with other master keys; nothing was copied`, {
      hint: "put the master keys of both stores into one set, those of the destination first; keyctl help environment",
    });
  }
}

/** Where rows go. */
interface BringTarget {
  readonly store: KeyStore;
  readonly journal: JournalCopy;
  /** Of a destination that is to hold sealed keys only; else null. */
  readonly sealer: Sealer | null;
}

async function insertMissing(
  rows: readonly KeyRecord[],
  { store, journal, sealer }: BringTarget,
  signal: AbortSignal,
): Promise<readonly RowOutcome[]> {
  const welcome = rows.filter((row) => journal.refusal(row) === null);
  const sent = welcome.map((row) => rowForDestination(row, sealer));
  const won = welcome.length === 0 ? [] : await insertRows(store, sent, signal);
  const winners = new Map(welcome.flatMap((row, index) => (won[index] === true ? [[row, sent[index] ?? row]] : [])));
  const losers = rows.filter((row) => !winners.has(row));
  const there = await rowsThere(losers, store, signal);
  return rows.map((row) => {
    const copy = winners.get(row);
    if (copy !== undefined) return { kind: "row", row: copy, wasPlain: copy !== row, outcome: "copied", error: null };
    // Whoever lost to a row that is gone by now has met another program.
    const absent = journal.refusal(row) ?? conflictError(row.userId);
    return compareWithExisting(row, there.get(row.userId)) ?? { kind: "row", row, outcome: "conflict", error: absent };
  });
}

async function compare(
  rows: readonly KeyRecord[],
  { store, journal }: BringTarget,
  signal: AbortSignal,
): Promise<readonly RowOutcome[]> {
  const there = await rowsThere(rows, store, signal);
  return rows.map((row) => {
    const error = journal.refusal(row);
    const inItsPlace = compareWithExisting(row, there.get(row.userId));
    if (inItsPlace !== undefined) return inItsPlace;
    return error === null
      ? { kind: "row", row, outcome: "copied", error }
      : { kind: "row", row, outcome: "conflict", error };
  });
}

/** What stays in the place of a row; undefined when nothing is there. */
function compareWithExisting(row: KeyRecord, [found, twin]: readonly KeyRecord[] = []): RowOutcome | undefined {
  if (found === undefined) return undefined;
  if (twin !== undefined) return { kind: "row", row, outcome: "conflict", error: duplicateRowsError(found, twin) };
  const hash = hashOfRecord(row);
  const isSame = found.keyEncrypted === row.keyEncrypted || (hash !== null && hash === hashOfRecord(found));
  if (isSame) return { kind: "row", row: found, outcome: "kept", error: null };
  return { kind: "row", row, outcome: "conflict", error: anotherKey(found) };
}

async function prove(
  rows: readonly KeyRecord[],
  there: ReadonlyMap<UserId, readonly KeyRecord[]>,
  sides: Sides,
  signal: AbortSignal,
): Promise<readonly RowOutcome[]> {
  const outcomes: RowOutcome[] = [];
  for (const row of rows) {
    const error = await verifyRow(row, there.get(row.userId) ?? [], sides, signal);
    outcomes.push(
      error === null
        ? { kind: "row", row, outcome: "verified", error }
        : { kind: "row", row, outcome: "unverified", error },
    );
  }
  return outcomes;
}

async function rowsThere(
  rows: readonly KeyRecord[],
  store: KeyStore,
  signal: AbortSignal,
): Promise<ReadonlyMap<UserId, readonly KeyRecord[]>> {
  const there = new Map<UserId, readonly KeyRecord[]>();
  if (rows.length === 0) return there;
  const users = rows.map(({ userId }) => userId);
  for (const row of await store.findMany(users, signal)) {
    there.set(row.userId, [...(there.get(row.userId) ?? []), row]);
  }
  return there;
}

function anotherKey(found: KeyRecord): KeyctlError {
  const mask = maskOfRecord(found) ?? "unreadable";
  return new KeyctlError(
    "KEY_EXISTS",
    `user ${printable(found.userId)} has another key in the destination (${mask}, from ${printable(found.origin)}); it stays`,
    { hint: "purge the unwanted one, and copy again" },
  );
}
