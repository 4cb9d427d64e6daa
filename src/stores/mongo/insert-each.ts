import { MongoServerError } from "mongodb";
import type { WriteError } from "mongodb";
import { retryWhile } from "../../core/async/retry-while.ts";
import type { KeyRecord } from "../../core/model/key-record.ts";
import type { StoredRow } from "../../core/model/tombstone.ts";
import type { UserId } from "../../core/model/user-id.ts";
import { batchCodeOf, isDuplicateCode, mayHaveBeenApplied, writeErrorsOf } from "./write-outcome.ts";

export interface BatchInsert {
  /** Sends these records in one unordered command. Rejects with the driver's error. */
  readonly insert: (records: readonly KeyRecord[]) => Promise<unknown>;
  readonly findMany: (users: readonly UserId[], signal: AbortSignal) => Promise<readonly StoredRow[]>;
  readonly writing: <Result>(work: () => Promise<Result>, signal: AbortSignal) => Promise<Result>;
  readonly isConflict: (code: unknown, signal: AbortSignal) => Promise<boolean>;
}

/** The outcome of a batch. Rows that are in none of these sets were inserted. */
interface BatchOutcome {
  /** Not inserted: another row exists. */
  readonly lost: ReadonlySet<KeyRecord>;
  /** Not written, because another program wrote the same rows at the same time. */
  readonly conflicts: ReadonlySet<KeyRecord>;
  readonly failed: ReadonlySet<KeyRecord>;
  /** The error of one of the failed rows: preferably of a row that may have been inserted all the same. */
  readonly failure: MongoServerError | undefined;
}

/** The whole command failed because of a conflict: the rows that it wrote before must be read back. */
type Broken = "broken";

/**
 * Inserts each row independently and returns the rows that were inserted. Rows that met a conflict are resent; another
 * failure is thrown once all other rows are decided. **Order:** by user id, because programs that insert the same users
 * in different orders block each other.
 */
export async function insertEach(
  records: readonly KeyRecord[],
  steps: BatchInsert,
  signal: AbortSignal,
): Promise<ReadonlySet<KeyRecord>> {
  const won = new Set<KeyRecord>();
  if (records.length === 0) return won;
  let pending = records.toSorted(byUser);
  let failure: MongoServerError | undefined;
  const round = async () => {
    const outcome = await send(pending, steps, signal);
    if (outcome === "broken") {
      const rows = await steps.findMany(
        pending.map(({ userId }) => userId),
        signal,
      );
      const ids = new Map(rows.map(({ userId, id }) => [userId, id]));
      for (const record of pending) if (ids.get(record.userId) === record.id) won.add(record);
      pending = pending.filter(({ userId }) => !ids.has(userId));
    } else {
      const { lost, conflicts, failed } = outcome;
      for (const record of pending) {
        if (!lost.has(record) && !conflicts.has(record) && !failed.has(record)) won.add(record);
      }
      pending = pending.filter((record) => conflicts.has(record));
      failure ??= outcome.failure;
    }
    if (pending.length > 0) throw CONFLICT;
  };
  try {
    await retryWhile(round, (thrown) => thrown === CONFLICT, signal);
  } catch (thrown) {
    if (failure === undefined) throw thrown;
  }
  const failed = failure;
  if (failed !== undefined) await steps.writing(() => Promise.reject(failed), signal);
  return won;
}

/** Thrown within a round if some rows must be resent. */
const CONFLICT = new Error("a conflict");

function byUser({ userId: one }: KeyRecord, { userId: other }: KeyRecord): number {
  return one < other ? -1 : one > other ? 1 : 0;
}

function send(
  records: readonly KeyRecord[],
  { insert, writing, isConflict }: BatchInsert,
  signal: AbortSignal,
): Promise<BatchOutcome | Broken> {
  return writing(async () => {
    try {
      await insert(records);
      return outcomeOf(records, [], () => false);
    } catch (thrown) {
      const errors = writeErrorsOf(thrown);
      if (errors === undefined) {
        if (await isConflict(batchCodeOf(thrown), signal)) return "broken";
        throw thrown;
      }
      const codes = new Set(errors.map(({ code }) => code));
      const passing = new Set<unknown>();
      for (const code of codes) if (await isConflict(code, signal)) passing.add(code);
      return outcomeOf(records, errors, (code) => passing.has(code));
    }
  }, signal);
}

function outcomeOf(
  records: readonly KeyRecord[],
  errors: readonly WriteError[],
  isConflict: (code: unknown) => boolean,
): BatchOutcome {
  const rowsWith = (isOf: (code: unknown) => boolean) =>
    new Set(errors.flatMap(({ code, index }) => (isOf(code) ? (records[index] ?? []) : [])));
  const isFailure = (code: unknown) => !isDuplicateCode(code) && !isConflict(code);
  const failures = errors.filter(({ code }) => isFailure(code)).map(asServerError);
  return {
    lost: rowsWith(isDuplicateCode),
    conflicts: rowsWith(isConflict),
    failed: rowsWith(isFailure),
    failure: failures.find(mayHaveBeenApplied) ?? failures[0],
  };
}

function asServerError({ code, errmsg }: WriteError): MongoServerError {
  return new MongoServerError({ code, message: errmsg ?? "" });
}
