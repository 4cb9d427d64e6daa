import { copyAccount, refuseOtherAccount } from "./copy-account.ts";
import { isKeyctlError, KeyctlError } from "../model/errors.ts";
import { BlockCopy, blockedThere } from "./copy-blocks.ts";
import type { BlockOutcome } from "./copy-blocks.ts";
import { copyHistory } from "./copy-history.ts";
import type { HistoryOutcome } from "./copy-history.ts";
import { JournalCopy } from "./copy-journal.ts";
import type { JournalOutcome } from "./copy-journal.ts";
import { keyOfRow } from "../model/history-event.ts";
import { hashOfRecord, maskOfRecord, duplicateRowsError } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import type { KeyStore, Sealer } from "../ports/stores-and-sources.ts";
import { isTombstone, keyIn } from "../model/tombstone.ts";
import type { StoredRow } from "../model/tombstone.ts";
import { printable } from "../text/printable.ts";
import { rowForDestination } from "./plain-rows.ts";
import { verifyRow } from "./verify-row.ts";
import type { CopyEnd, Sides } from "./verify-row.ts";
import { insertRows } from "../protocol/write-row.ts";
import type { UserId } from "../model/user-id.ts";
import { conflictError } from "../protocol/contention.ts";
import { batched } from "../async/batched.ts";

/**
 * **Invariant:** a row is inserted only if its user has none in the destination; existing rows stay. It is copied
 * unchanged, except for a key in plain text if the destination holds sealed keys only. **Order:** (1) the journal,
 * because a row is interpreted by its journal; (2) the rows, then the blocks; (3) the source again, to verify everything: each
 * entry is present and unchanged, each row is present and holds the key of the source, the master keys open it, and each
 * block stands; (4) the history, on which nothing depends.
 */

/**
 * A row of the source. Without `dryRun`, each one that is not in conflict is reported a second time, with its proof.
 */
export type RowOutcome = {
  readonly kind: "row";
  /** The row of the destination for `kept` and, once it is inserted, for `copied`; else the row of the source. */
  readonly row: KeyRecord;
  /** The row was copied and sealed on the way: the source holds it in plain text. */
  readonly wasPlain?: boolean;
} & (
  | { readonly outcome: "copied" | "kept" | "verified"; readonly error: null }
  | { readonly outcome: "conflict" | "unverified"; readonly error: KeyctlError }
);

export type CopyOutcome = RowOutcome | JournalOutcome | BlockOutcome | HistoryOutcome;

export interface Copying {
  /** Reports what a copy would do, and writes nothing. */
  readonly dryRun: boolean;
  readonly newSignal: () => AbortSignal;
}

/** Small enough for a commit that takes well under 50 ms. */
const BATCH = 500;

/**
 * Copies in batches, in the order of the source. Throws a failure that concerns all rows, and CONFLICT for a
 * destination with the journal of another deployment. Copied rows stay, and the next copy reports them as `kept`.
 */
export async function* copyRows(
  source: CopyEnd,
  destination: CopyEnd,
  { dryRun, newSignal }: Copying,
): AsyncGenerator<readonly CopyOutcome[]> {
  await unlockSource(source, newSignal());
  await unlockDestination(destination, dryRun, newSignal());
  const journals = { source: source.journal, destination: destination.journal };
  await refuseOtherAccount(journals, newSignal());
  const journal = new JournalCopy(source.journal, destination.journal, dryRun);
  yield* journal.bring(newSignal);
  if (!dryRun) await copyAccount(journals, newSignal());
  const inConflict = new Set<string>();
  for await (const rows of batched(source.store.scan(newSignal), BATCH)) {
    const outcomes = dryRun
      ? await compare(rows, { store: destination.store, journal }, newSignal())
      : await insertMissing(rows, await bringTarget(source, destination, journal, newSignal), newSignal());
    for (const { row, outcome } of outcomes) if (outcome === "conflict") inConflict.add(row.id);
    if (!dryRun) await noteCopied(outcomes, destination);
    yield outcomes;
  }
  const blocks = new BlockCopy({ source, destination }, { dryRun, newSignal });
  yield* blocks.bring();
  if (dryRun) return;
  // A rekey of the source may have begun in the meantime: it adds the check of a new master key before it seals a row
  // with that key.
  await bringSealChecks(source, destination, newSignal());
  yield* journal.prove(newSignal);
  for await (const rows of batched(source.store.scan(newSignal), BATCH)) {
    const others = rows.filter(({ id }) => !inConflict.has(id));
    const there = await rowsThere(others, destination.store, newSignal());
    yield await prove(others, there, { source, destination }, newSignal());
  }
  yield* blocks.prove();
  yield [await copyHistory({ source: source.historyStore, destination: destination.historyStore }, newSignal)];
}

async function noteCopied(outcomes: readonly RowOutcome[], { history }: Pick<CopyEnd, "history">): Promise<void> {
  const copied = outcomes.filter(({ outcome }) => outcome === "copied");
  history.note(...copied.map(({ row }) => ({ event: "copied", userId: row.userId, key: keyOfRow(row) }) as const));
  await history.write();
}

/**
 * Rejects with MASTER_KEY_… unless the master keys open the store; writes nothing. Without a check, nothing is sealed.
 */
export async function unlockSource({ lock, sealer }: CopyEnd, signal: AbortSignal): Promise<void> {
  const checks = await lock.checks.keyCheckValues(signal);
  if (checks.length > 0) await naming("source", () => sealer("open", signal));
}

/** Rejects with MASTER_KEY_… unless the destination can be sealed; gives it its first check, except in a dry run. */
async function unlockDestination(
  { sealer, assertCanSeal }: CopyEnd,
  dryRun: boolean,
  signal: AbortSignal,
): Promise<void> {
  await naming("destination", async () => {
    if (dryRun) await assertCanSeal(signal);
    else await sealer("prepare", signal);
  });
}

/** For one batch: the master keys of source and destination are named again before rows are sealed with them. */
async function bringTarget(
  source: CopyEnd,
  destination: CopyEnd,
  journal: JournalCopy,
  newSignal: () => AbortSignal,
): Promise<BringTarget> {
  await bringSealChecks(source, destination, newSignal());
  const { store, sealer } = destination;
  const seals = holdsSealedOnly(destination);
  return { store, journal, sealer: seals ? await naming("destination", () => sealer("seal", newSignal())) : null };
}

/** True for an embedded store, too: no other program reads it, and its first master key is created automatically. */
function holdsSealedOnly({ requireSealed, lock }: CopyEnd): boolean {
  return requireSealed || lock.mayGenerate;
}

/** Sealed values are copied unchanged, so the destination needs the check of each master key of the source. */
async function bringSealChecks(source: CopyEnd, destination: CopyEnd, signal: AbortSignal): Promise<void> {
  const checks = await source.lock.checks.keyCheckValues(signal);
  for (const check of checks) await destination.lock.checks.addKeyCheckValue(check, signal);
}

/** With two stores, MASTER_KEY_WRONG must name the store that the master keys do not open. */
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

interface BringTarget {
  readonly store: KeyStore;
  readonly journal: JournalCopy;
  /** The sealer of a destination that holds sealed keys only; else null. */
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
    // The insert lost to a row that is gone now: another program is changing this user.
    const absent = journal.refusal(row) ?? conflictError(row.userId);
    return compareWithExisting(row, there.get(row.userId)) ?? { kind: "row", row, outcome: "conflict", error: absent };
  });
}

async function compare(
  rows: readonly KeyRecord[],
  { store, journal }: Omit<BringTarget, "sealer">,
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

/** The result for a row whose user has a row in the destination; undefined if there is none. */
function compareWithExisting(row: KeyRecord, [found, twin]: readonly StoredRow[] = []): RowOutcome | undefined {
  if (found === undefined) return undefined;
  if (twin !== undefined) return { kind: "row", row, outcome: "conflict", error: duplicateRowsError(found, twin) };
  if (isTombstone(found)) return { kind: "row", row, outcome: "conflict", error: blockedThere(found) };
  const hash = hashOfRecord(row);
  const isSame = found.keyEncrypted === row.keyEncrypted || (hash !== null && hash === hashOfRecord(found));
  if (isSame) return { kind: "row", row: found, outcome: "kept", error: null };
  return { kind: "row", row, outcome: "conflict", error: anotherKey(found) };
}

async function prove(
  rows: readonly KeyRecord[],
  there: ReadonlyMap<UserId, readonly StoredRow[]>,
  sides: Sides,
  signal: AbortSignal,
): Promise<readonly RowOutcome[]> {
  const outcomes: RowOutcome[] = [];
  for (const row of rows) {
    const found = (there.get(row.userId) ?? []).flatMap((one) => keyIn(one) ?? []);
    const error = await verifyRow(row, found, sides, signal);
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
): Promise<ReadonlyMap<UserId, readonly StoredRow[]>> {
  const there = new Map<UserId, readonly StoredRow[]>();
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
