import {
  MongoAPIError,
  MongoBulkWriteError,
  MongoError,
  MongoErrorLabel,
  MongoServerError,
  MongoServerSelectionError,
  MongoWriteConcernError,
} from "mongodb";
import type { WriteError } from "mongodb";

/**
 * **Invariant:** a write that failed may have been applied, unless its error is known to mean that it was not. A code
 * that is missing from these lists costs a read; a code that is listed by mistake loses a key.
 */

const DUPLICATE_KEY = 11_000;
const WRITE_CONFLICT = 112;
const MAX_TIME_EXPIRED = 50;
const ATLAS = 8_000;

/** The server refuses the whole command before its first write. */
const REFUSED_AT_THE_DOOR: ReadonlySet<number> = new Set([
  // UserNotFound, AuthenticationFailed, MechanismUnavailable: the connection is not logged in.
  11, 18, 334,
  // Unauthorized: rights are checked before a command runs.
  13,
  // CommandNotFound.
  59,
  // CommandNotSupportedOnView: the kind of the collection is checked before its rows.
  166,
]);

/** The server refuses one write. In a batch, the writes before it may have been applied. */
const ONE_WRITE_REFUSED: ReadonlySet<number> = new Set([
  // DuplicateKey: the unique index refuses it.
  DUPLICATE_KEY,
  // WriteConflict: the storage engine has rolled back the write.
  WRITE_CONFLICT,
  // DocumentValidationFailure, ShardKeyNotFound: the document is refused before it is stored.
  121,
  61,
  // OutOfDiskSpace and the quota of a database: space is checked before a write.
  14_031,
  12_501,
  // NotWritablePrimary, its older code, NotPrimaryNoSecondaryOk, NotPrimaryOrSecondary: a member that is no primary
  // writes nothing. A member that steps down in the middle of a write answers with other codes, which are not listed
  // here.
  10_107,
  10_058,
  13_435,
  13_436,
  // FailedToSatisfyReadPreference: the router knows no primary to send the write to.
  133,
]);

/**
 * PostgreSQL's codes for a transaction that was rolled back because of another one, as FerretDB 2 passes them on:
 * https://www.postgresql.org/docs/current/errcodes-appendix.html. `40003` is not listed: it means that the outcome is
 * unknown.
 */
const CONFLICT_STATES: ReadonlySet<string> = new Set([
  // transaction_rollback, serialization_failure, deadlock_detected, lock_not_available.
  "40000",
  "40001",
  "40P01",
  "55P03",
]);

export function isDuplicateKey(thrown: unknown): boolean {
  return thrown instanceof MongoServerError && isDuplicateCode(thrown.code);
}

/** The unique index refuses a row because another one exists. */
export function isDuplicateCode(code: unknown): boolean {
  return code === DUPLICATE_KEY;
}

/** Nothing was written, because another program writes the same rows at the same time: the write can be resent. */
export function isConflictCode(code: unknown): boolean {
  return code === WRITE_CONFLICT || (typeof code === "number" && CONFLICT_STATES.has(sqlState(code)));
}

/**
 * The server stopped a command that took too long. MongoDB may have applied its write by then. FerretDB 2 uses this
 * code for a statement that PostgreSQL has cancelled and rolled back, such as one of several that block each other.
 */
export function isExpiredCode(code: unknown): boolean {
  return code === MAX_TIME_EXPIRED;
}

/** The code with which the server refused a command that is no batch; undefined for any other failure. */
export function serverCodeOf(thrown: unknown): unknown {
  const isOfOne = !(thrown instanceof MongoWriteConcernError) && !(thrown instanceof MongoBulkWriteError);
  return thrown instanceof MongoServerError && isOfOne ? thrown.code : undefined;
}

/** The code with which the server ended a batch as a whole; undefined for any other failure. */
export function batchCodeOf(thrown: unknown): unknown {
  const isEnded = thrown instanceof MongoBulkWriteError && unwrapBulkError(thrown) === thrown;
  const hasMore = writeErrorsOf(thrown) !== undefined;
  return isEnded && !hasMore && thrown.result.getWriteConcernError() === undefined ? thrown.code : undefined;
}

/**
 * The error that ended a bulk write without a server's answer: the driver wraps it in what looks like a server's error.
 */
export function unwrapBulkError(thrown: unknown): unknown {
  return thrown instanceof MongoBulkWriteError && thrown.errorResponse instanceof Error ? thrown.errorResponse : thrown;
}

/**
 * The errors of single documents of an unordered insert: all other documents were inserted. Undefined if the whole
 * command failed, or if it is uncertain whether its writes stay.
 */
export function writeErrorsOf(thrown: unknown): readonly WriteError[] | undefined {
  if (!(thrown instanceof MongoBulkWriteError) || unwrapBulkError(thrown) !== thrown) return undefined;
  if (thrown.result.getWriteConcernError() !== undefined) return undefined;
  const errors = [thrown.writeErrors].flat();
  return errors.length === 0 ? undefined : errors;
}

/** Whether a write that failed in this way may have been applied. */
export function mayHaveBeenApplied(thrown: unknown): boolean {
  const cause = unwrapBulkError(thrown);
  if (wasNotSent(cause)) return false;
  if (!(cause instanceof MongoServerError)) return true;
  // The write was applied, whatever the code is: only whether it stays is unknown.
  if (cause instanceof MongoWriteConcernError) return true;
  if (cause instanceof MongoBulkWriteError && cause.result.getWriteConcernError() !== undefined) return true;
  const errors = writeErrorsOf(cause);
  if (errors !== undefined) return errors.some(({ code, errmsg = "" }) => !isRefusal(code, errmsg, "one write"));
  return !isRefusal(cause.code, cause.message, thrown instanceof MongoBulkWriteError ? "a batch" : "one write");
}

/** No server was found, the driver itself refused, or no connection could be opened. */
function wasNotSent(cause: unknown): boolean {
  if (cause instanceof MongoServerSelectionError || cause instanceof MongoAPIError) return true;
  // A cleared pool hands out no connection.
  if (cause instanceof MongoError && cause.name === "MongoPoolClearedError") return true;
  const labels = [MongoErrorLabel.HandshakeError, MongoErrorLabel.SystemOverloadedError];
  return cause instanceof MongoError && labels.some((label) => cause.hasErrorLabel(label));
}

function isRefusal(code: unknown, text: string, of: "one write" | "a batch"): boolean {
  if (REFUSED_AT_THE_DOOR.has(Number(code))) return true;
  // The proxy of Atlas has one code for all its errors. With these two texts, it did not pass the command on.
  if (code === ATLAS) return /quota|not allowed/i.test(text);
  return of === "one write" && (ONE_WRITE_REFUSED.has(Number(code)) || isConflictCode(code));
}

/** PostgreSQL packs the five characters of a state into a number, six bits each, the first one lowest. */
function sqlState(code: number): string {
  const characters = [0, 6, 12, 18, 24].map((shift) => String.fromCharCode(0x30 + ((code >> shift) & 0x3f)));
  return code >= 0 && code < 2 ** 30 ? characters.join("") : "";
}
