import { isKeyctlError, KeyctlError } from "../model/errors.ts";
import type { ApiKey } from "../model/api-key.ts";
import { duplicateRowsError, hashOfRecord, maskOfRecord, newRecord } from "../model/key-record.ts";
import type { KeyRecord } from "../model/key-record.ts";
import { blockedError, isTombstone } from "../model/tombstone.ts";
import type { StoredRow } from "../model/tombstone.ts";
import { parseGivenUserId, repeatableGivenId } from "../model/management-key.ts";
import type { UserId } from "../model/user-id.ts";
import type { Warning } from "../model/warning.ts";
import { printable } from "../text/printable.ts";
import { userFlag } from "../text/shell-quote.ts";
import { attempts, conflictError } from "../protocol/contention.ts";
import { confirmGiven, keyIsOwed, lookUpManyGiven } from "../protocol/given-key.ts";
import type { GivenKey } from "../protocol/given-key.ts";
import { confirmGeneration } from "../protocol/settle-row.ts";
import { importSpooled, spoolFailures } from "../protocol/spool-gate.ts";
import { insertRows } from "../protocol/write-row.ts";
import type { Context } from "../context.ts";
import { givenUserKey, requireOrigin, shapeWarnings } from "./given-user-key.ts";

/**
 * **Invariant:** an import changes no row. It inserts a key for each user without one; a user's other key stays.
 * **Order:** read the rows of a batch, look up the keys that are missing in the journal, insert them, and look up once more
 * those that keyctl created, as for any given key. An import that was killed is run again: what it has stored is `kept`.
 */

/** One user's key, as it was given. */
export interface ImportEntry {
  readonly userId: string;
  readonly key: string | ApiKey;
  /** The origin of the key, stored in the row. Default `import`. */
  readonly source?: string | undefined;
}

export interface ImportResult {
  readonly userId: string;
  /** `kept`: the user has this key. `conflict`: the user has another one, which stays. */
  readonly outcome: "imported" | "kept" | "conflict" | "failed";
  readonly key: ApiKey | null;
  readonly keyHash: string | null;
  readonly origin: string | null;
  readonly warnings: readonly Warning[];
  /** Null exactly if the key was imported or kept. */
  readonly error: KeyctlError | null;
}

export interface ImportTask {
  /** Reports what an import would do, and writes nothing. */
  readonly dryRun: boolean;
  readonly newSignal: () => AbortSignal;
}

const DEFAULT_ORIGIN = "import";

/**
 * One result for each entry, in the order of the entries, after the commit of its batch. Throws a failure that concerns all
 * users.
 */
export async function* importKeys(
  batches: AsyncIterable<readonly ImportEntry[]>,
  context: Context,
  task: ImportTask,
): AsyncGenerator<readonly ImportResult[]> {
  let isPrepared = false;
  for await (const entries of batches) {
    const signal = task.newSignal();
    if (!isPrepared) await (task.dryRun ? context.assertCanSeal(signal) : context.sealer("prepare", signal));
    isPrepared = true;
    yield await importBatch(entries, context, { dryRun: task.dryRun, signal });
  }
}

interface Given {
  readonly userId: UserId;
  readonly key: ApiKey;
  readonly origin: string;
}

interface BatchTask {
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
}

async function importBatch(
  entries: readonly ImportEntry[],
  context: Context,
  task: BatchTask,
): Promise<readonly ImportResult[]> {
  const hashes = context.managementKeyHashes();
  const parsed = entries.map((entry) => parsedEntry(entry, hashes));
  const results = new Map<Given, ImportResult>();
  let rest: readonly Given[] = parsed.flatMap((one) => ("error" in one ? [] : [one]));
  // A user's second entry is compared with what the first one stored.
  while (rest.length > 0) {
    const firsts = new Map(rest.toReversed().map((one) => [one.userId, one]));
    const round = await importFirsts([...firsts.values()], context, task);
    for (const one of firsts.values())
      results.set(one, round.get(one.userId) ?? failed(one, conflictError(one.userId)));
    rest = rest.filter((one) => !results.has(one));
  }
  return parsed.map((one) => ("error" in one ? one : (results.get(one) ?? failed(one, conflictError(one.userId)))));
}

function parsedEntry({ userId, key, source }: ImportEntry, managementKeys: ReadonlySet<string>): Given | ImportResult {
  try {
    const user = parseGivenUserId(userId, managementKeys);
    const origin = source ?? DEFAULT_ORIGIN;
    requireOrigin(origin, "write a source such as old-system, or none: the origin is then import");
    return { userId: user, key: givenUserKey(key, user, managementKeys), origin };
  } catch (thrown) {
    if (isKeyctlError(thrown)) return importFailed(repeatableGivenId(userId, managementKeys), thrown);
    throw thrown;
  }
}

async function importFirsts(
  all: readonly Given[],
  context: Context,
  { dryRun, signal }: BatchTask,
): Promise<ReadonlyMap<UserId, ImportResult>> {
  const results = new Map<UserId, ImportResult>();
  const rest = () => all.filter(({ userId }) => !results.has(userId));
  if (!dryRun) await takeSpooled(all, results, context, signal);
  for await (const _ of attempts()) {
    if (rest().length === 0) break;
    const rows = await rowsOf(rest(), context, signal);
    const missing: Given[] = [];
    for (const one of rest()) {
      const result = await compared(one, rows.get(one.userId) ?? [], { dryRun, signal }, context);
      if (result === "absent") missing.push(one);
      else if (result !== "lost") results.set(one.userId, result);
    }
    const inserted = await insertMissing(missing, context, { dryRun, signal });
    for (const result of inserted) results.set(...result);
  }
  return results;
}

/** Keys that keyctl created for these users and that wait to be stored come first. */
async function takeSpooled(
  all: readonly Given[],
  results: Map<UserId, ImportResult>,
  context: Context,
  signal: AbortSignal,
): Promise<void> {
  const failures = new Map(
    await spoolFailures(
      all.map(({ userId }) => userId),
      context,
      importSpooled,
      signal,
    ),
  );
  for (const one of all) {
    const failure = failures.get(one.userId);
    if (failure !== undefined) results.set(one.userId, failed(one, failure));
  }
}

async function rowsOf(
  all: readonly Given[],
  { store }: Context,
  signal: AbortSignal,
): Promise<ReadonlyMap<UserId, readonly StoredRow[]>> {
  const rows = new Map<UserId, StoredRow[]>();
  const users = all.map(({ userId }) => userId);
  for (const row of await store.findMany(users, signal)) rows.set(row.userId, [...(rows.get(row.userId) ?? []), row]);
  return rows;
}

/** `lost`: the row belongs to an operation that was abandoned; it is read again. */
async function compared(
  one: Given,
  [row, twin]: readonly StoredRow[],
  { dryRun, signal }: BatchTask,
  context: Context,
): Promise<ImportResult | "absent" | "lost"> {
  if (row === undefined) return "absent";
  if (twin !== undefined) return failed(one, duplicateRowsError(row, twin));
  if (isTombstone(row)) return failed(one, blockedError(row));
  const isSure = dryRun || row.settled || row.generation === 0;
  if (!isSure && !(await confirmGeneration(row, context, signal))) return "lost";
  if (hashOfRecord(row) !== one.key.hash) return conflict(one, maskOfRecord(row), row.origin);
  return succeeded({ ...one, origin: row.origin }, "kept");
}

/** Without those whose insert lost. */
async function insertMissing(
  missing: readonly Given[],
  context: Context,
  { dryRun, signal }: BatchTask,
): Promise<readonly (readonly [UserId, ImportResult])[]> {
  if (missing.length === 0) return [];
  const { journal, clock, store } = context;
  const known = await lookUpManyGiven([...new Set(missing.map(({ key }) => key.hash))], journal, signal);
  const entryOf = ({ key }: Given) => known.get(key.hash) ?? { kind: "foreign" };
  const owed = missing.flatMap((one) => owedResult(one, entryOf(one)));
  const free = missing.filter((one) => entryOf(one).kind !== "owed");
  if (dryRun || free.length === 0) return [...owed, ...free.map((one) => withResult(one, succeeded(one, "imported")))];
  const sealer = await context.sealer("seal", signal);
  const now = clock.now().toISOString();
  const records = free.map(({ userId, key, origin }) =>
    newRecord(userId, { key, sealed: sealer.seal(key, userId), origin, now }),
  );
  const won = await insertRows(store, records, signal);
  const results = [...owed];
  for (const [index, one] of free.entries()) {
    const record = records[index];
    if (won[index] !== true || record === undefined) continue;
    results.push(await confirmed(one, { record, given: entryOf(one) }, context, signal));
  }
  return results;
}

/** A key that keyctl created may have been marked for deletion in the meantime: its row is then withdrawn. */
async function confirmed(
  one: Given,
  { record, given }: { readonly record: KeyRecord; readonly given: GivenKey },
  context: Context,
  signal: AbortSignal,
): Promise<readonly [UserId, ImportResult]> {
  const now = await confirmGiven([record], given, context, signal);
  const [owed] = owedResult(one, now);
  if (owed !== undefined) return owed;
  context.history.note({ event: "imported", userId: one.userId, key: record });
  return withResult(one, succeeded(one, "imported"));
}

function owedResult(one: Given, given: GivenKey): readonly (readonly [UserId, ImportResult])[] {
  return given.kind === "owed" ? [withResult(one, failed(one, keyIsOwed(one.userId, given, "kept")))] : [];
}

function withResult(one: Given, result: ImportResult): readonly [UserId, ImportResult] {
  return [one.userId, result];
}

function succeeded({ userId, key, origin }: Given, outcome: "imported" | "kept"): ImportResult {
  return { userId, outcome, key, keyHash: key.hash, origin, warnings: shapeWarnings(key), error: null };
}

function failed({ userId, key, origin }: Given, error: KeyctlError): ImportResult {
  return { userId, outcome: "failed", key, keyHash: key.hash, origin, warnings: [], error };
}

function conflict(one: Given, mask: string | null, origin: string): ImportResult {
  const there = `${mask ?? "unreadable"}, from ${printable(origin)}`;
  const error = new KeyctlError(
    "KEY_EXISTS",
    `user ${printable(one.userId)} already has another key (${there}); it stays`,
    { hint: `keyctl save ${userFlag(one.userId)} --replace` },
  );
  return { ...failed(one, error), outcome: "conflict" };
}

/** The result of an entry that gives no key. */
export function importFailed(userId: string, error: KeyctlError): ImportResult {
  return { userId, outcome: "failed", key: null, keyHash: null, origin: null, warnings: [], error };
}
