import { isKeyctlError, KeyctlError } from "../../core/model/errors.ts";
import type { ErrorCode } from "../../core/model/errors.ts";
import { printable } from "../../core/text/printable.ts";
import { shellQuote } from "../../core/text/shell-quote.ts";
import { extendedResultCode, isSqliteError, RESULT } from "./result.ts";
import { codeOf } from "../../files/system-error.ts";

/** Without a hint of its own: the way out of damage, which depends on whether anything was written. */
type ErrorTemplate = readonly [code: ErrorCode, problem: string, hint?: string];

const WRITABLE = "the file, its -wal and -shm if they are there, and its folder must be writable by this user";
const RESTORE = "put it aside and restore a backup; nothing was written to it";
const CORRUPT: ErrorTemplate = ["STORE_CORRUPT", "is damaged, or is not a SQLite database"];
/** Our statements are fixed, so that it is the schema or what a row holds that SQLite finds wrong. */
const ALTERED: ErrorTemplate = ["STORE_CORRUPT", "is damaged, or another program has changed it"];
const FULL: ErrorTemplate = [
  "STORE_UNAVAILABLE",
  "could not be written: the disk is full",
  "free some space and run the command again; nothing was lost",
];
const DENIED: ErrorTemplate = ["STORE_UNAVAILABLE", "cannot be opened: permission denied", WRITABLE];
export const READ_ONLY = ["STORE_UNAVAILABLE", "is read-only", WRITABLE] as const satisfies ErrorTemplate;

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
 * **Invariant:** a write that failed may have been applied, unless its code is known to say that it was not: the statement or
 * the lock was refused, or a page could not be read or written, and the page that commits comes last. A sync that fails
 * comes after that page: whoever opens the file next may find it there.
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
/** `SQLITE_ERROR` of BEGIN and its like says that we have lost count of our own transactions. */
const OF_A_TRANSACTION = /^cannot (?:start|commit|rollback) /;
/** By the system's code, for what fails before SQLite is asked. */
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
  // An integer in a column of ours that JavaScript cannot hold.
  ERR_OUT_OF_RANGE: ALTERED,
  ENAMETOOLONG: ["STORE_UNAVAILABLE", "cannot be opened: its path is too long", "check --store or KEYCTL_STORE"],
};

/**
 * SQLite's or the system's error as our own, in one sentence; anything else as it is.
 * @param options `wayOut`: what to do about a damaged file, to which nothing was written yet
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

/** As `storeError`, of a database that was open already. */
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

/** A row or record that SQLite gives and that keyctl cannot have written so. */
export function damaged(path: string, what: string): KeyctlError {
  return new KeyctlError("STORE_CORRUPT", `the database ${printable(path)} is damaged: ${printable(what)}`, {
    hint: recovery(path),
  });
}

export function indexMisses(path: string): KeyctlError {
  return damaged(path, "its index leaves out a row that its table holds");
}

/** The way out of damage: https://sqlite.org/recovery.html */
function recovery(path: string): string {
  return `put it aside and restore a backup, or save what can still be read: sqlite3 ${shellQuote(path)} .recover | sqlite3 ${shellQuote(`${path}.recovered`)}`;
}
