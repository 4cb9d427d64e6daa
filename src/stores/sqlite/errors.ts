import { isKeyctlError, KeyctlError } from "../../core/model/errors.ts";
import type { ErrorCode } from "../../core/model/errors.ts";
import { printable } from "../../core/text/printable.ts";
import { shellQuote } from "../../core/text/shell-quote.ts";
import { extendedResultCode, isSqliteError, RESULT } from "./result.ts";
import { codeOf } from "../../files/system-error.ts";

/** Without a hint, the caller's way out of damage is used, which depends on whether the database was already open. */
type ErrorTemplate = readonly [code: ErrorCode, problem: string, hint?: string];

const WRITABLE = "the file, its -wal and -shm if they are there, and its folder must be writable by this user";
const RESTORE = "put it aside and restore a backup; nothing was written to it";
const CORRUPT: ErrorTemplate = ["STORE_CORRUPT", "is damaged, or is not a SQLite database"];
/** keyctl's statements are fixed, so SQLite's complaint is about the schema or the content of a row. */
const ALTERED: ErrorTemplate = ["STORE_CORRUPT", "is damaged, or another program has changed it"];
const FULL: ErrorTemplate = [
  "STORE_UNAVAILABLE",
  "could not be written: the disk is full",
  "free some space and run the command again; nothing was lost",
];
const DENIED: ErrorTemplate = ["STORE_UNAVAILABLE", "cannot be opened: permission denied", WRITABLE];
export const READ_ONLY = ["STORE_UNAVAILABLE", "is read-only", WRITABLE] as const satisfies ErrorTemplate;

/** The error of a write to a database that was opened for reading. */
export function readOnlyError(path: string): KeyctlError {
  const [code, problem, hint] = READ_ONLY;
  return new KeyctlError(code, `the database ${printable(path)} ${problem}`, { hint });
}

const BY_RESULT: Readonly<Record<number, ErrorTemplate>> = {
  [RESULT.noPermission]: DENIED,
  [RESULT.noMemory]: ["STORE_UNAVAILABLE", "could not be read: there is too little memory", "close other programs"],
  [RESULT.readOnly]: READ_ONLY,
  [RESULT.ioError]: [
    "STORE_UNAVAILABLE",
    "could not be read or written: the disk answered with an error",
    "look at the disk and its free space; nothing was lost",
  ],
  [RESULT.corrupt]: CORRUPT,
  [RESULT.full]: FULL,
  [RESULT.cannotOpen]: ["STORE_UNAVAILABLE", "cannot be opened", WRITABLE],
  [RESULT.tooBig]: ALTERED,
  [RESULT.constraint]: ALTERED,
  [RESULT.mismatch]: ALTERED,
  [RESULT.denied]: DENIED,
  [RESULT.notADatabase]: CORRUPT,
  [RESULT.fileMoved]: [
    "STORE_UNAVAILABLE",
    "was moved or replaced while it was in use",
    "run the command again, once the file is where it is to stay",
  ],
  [RESULT.damagedFileSystem]: CORRUPT,
};
/**
 * **Invariant:** a write that failed may have been applied, unless its code is known to mean that it was not: the
 * statement or the lock was refused, or a page could not be read or written before the last page, which commits. A
 * failed sync comes after that page: the next process that opens the file may find the write.
 */
const NOT_APPLIED: ReadonlySet<number> = new Set([
  RESULT.error,
  RESULT.noPermission,
  RESULT.busy,
  RESULT.locked,
  RESULT.readOnly,
  RESULT.corrupt,
  RESULT.full,
  RESULT.cannotOpen,
  RESULT.lockProtocol,
  RESULT.tooBig,
  RESULT.constraint,
  RESULT.mismatch,
  RESULT.denied,
  RESULT.notADatabase,
  RESULT.failedRead,
  RESULT.shortRead,
  RESULT.failedWrite,
]);
/** `SQLITE_ERROR` from BEGIN, COMMIT or ROLLBACK means that keyctl has lost track of its own transactions. */
const OF_A_TRANSACTION = /^cannot (?:start|commit|rollback) /;
/** By the system's code, for failures before SQLite is called. */
const BY_SYSTEM: Readonly<Record<string, ErrorTemplate>> = {
  EACCES: DENIED,
  EPERM: DENIED,
  EROFS: READ_ONLY,
  ENOSPC: FULL,
  EDQUOT: FULL,
  ENOENT: ["STORE_UNAVAILABLE", "cannot be opened: its folder does not exist", "check --store or KEYCTL_STORE"],
  ENOTDIR: [
    "STORE_UNAVAILABLE",
    "cannot be opened: a part of its path is not a folder",
    "check --store or KEYCTL_STORE",
  ],
  ELOOP: [
    "STORE_UNAVAILABLE",
    "cannot be opened: its path is a loop of symbolic links",
    "check --store or KEYCTL_STORE",
  ],
  // A column holds an integer that JavaScript cannot represent.
  ERR_OUT_OF_RANGE: ALTERED,
  ENAMETOOLONG: ["STORE_UNAVAILABLE", "cannot be opened: its path is too long", "check --store or KEYCTL_STORE"],
};

/**
 * Translates an error of SQLite or of the system into a KeyctlError of one sentence. Returns anything else unchanged.
 * @param options `wayOut`: the hint for a damaged file, by default for one to which nothing was written
 */
export function storeError(thrown: unknown, path: string, { wayOut = RESTORE, isWrite = false } = {}): unknown {
  if (isKeyctlError(thrown)) return thrown;
  const mayHaveHappened = isWrite && mayHaveBeenApplied(thrown);
  const sentence = isSqliteError(thrown) ? byResult(thrown) : BY_SYSTEM[codeOf(thrown)];
  if (sentence !== undefined) {
    const [code, problem, hint = wayOut] = sentence;
    return new KeyctlError(code, `the database ${printable(path)} ${problem}`, { hint, mayHaveHappened });
  }
  if (!isSqliteError(thrown)) return thrown;
  const code = extendedResultCode(thrown);
  const said = `${printable(thrown.message)}${code === 0 ? "" : `, SQLite result code ${code}`}`;
  return new KeyctlError("STORE_UNAVAILABLE", `the database ${printable(path)} failed (${said})`, { mayHaveHappened });
}

/** As `storeError`, for a database that is already open. */
export function openStoreError(thrown: unknown, path: string, isWrite = false): unknown {
  return storeError(thrown, path, { wayOut: recovery(path), isWrite });
}

function mayHaveBeenApplied(thrown: unknown): boolean {
  if (!isSqliteError(thrown)) return false;
  const code = extendedResultCode(thrown);
  const isOfTheDisk = (code & 0xff) === RESULT.ioError;
  return !NOT_APPLIED.has(isOfTheDisk ? code : code & 0xff);
}

function byResult(thrown: Error): ErrorTemplate | undefined {
  const code = extendedResultCode(thrown);
  if ((code & 0xff) === RESULT.error) return OF_A_TRANSACTION.test(thrown.message) ? undefined : ALTERED;
  return BY_RESULT[code] ?? BY_RESULT[code & 0xff];
}

/** The error for a row or record that SQLite returns but that keyctl cannot have written. */
export function damaged(path: string, what: string): KeyctlError {
  return new KeyctlError("STORE_CORRUPT", `the database ${printable(path)} is damaged: ${printable(what)}`, {
    hint: recovery(path),
  });
}

export function indexMisses(path: string): KeyctlError {
  return damaged(path, "its index leaves out a row that its table holds");
}

/** The hint for a damaged database: https://sqlite.org/recovery.html */
function recovery(path: string): string {
  return `put it aside and restore a backup, or save what can still be read: sqlite3 ${shellQuote(path)} .recover | sqlite3 ${shellQuote(`${path}.recovered`)}`;
}
