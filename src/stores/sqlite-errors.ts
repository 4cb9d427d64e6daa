import { isKeyctlError, KeyctlError } from "../core/errors.ts";
import type { ErrorCode } from "../core/errors.ts";
import { printable } from "../core/printable.ts";
import { codeOf } from "../files/read-regular-file.ts";
import { resultCode } from "./sqlite-lock.ts";

type Sentence = readonly [code: ErrorCode, problem: string, hint: string];

const WRITABLE = "the file, its -wal and -shm if they are there, and its folder must be writable by this user";
const RESTORE = "put it aside and restore a backup; nothing was written to it";
const CORRUPT: Sentence = ["STORE_CORRUPT", "is damaged, or is not a SQLite database", RESTORE];
const FULL: Sentence = [
  "STORE_UNAVAILABLE",
  "could not be written: the disk is full",
  "free some space and run the command again; nothing was lost",
];
const DENIED: Sentence = ["STORE_UNAVAILABLE", "cannot be opened: permission denied", WRITABLE];
export const READ_ONLY: Sentence = ["STORE_UNAVAILABLE", "is read-only", WRITABLE];

/** By SQLite's result code: https://sqlite.org/rescode.html */
const BY_RESULT: Readonly<Record<number, Sentence>> = {
  8: READ_ONLY,
  10: [
    "STORE_UNAVAILABLE",
    "could not be read or written: the disk answered with an error",
    "look at the disk and its free space; nothing was lost",
  ],
  11: CORRUPT,
  13: FULL,
  14: ["STORE_UNAVAILABLE", "cannot be opened", WRITABLE],
  23: DENIED,
  26: CORRUPT,
};
/** By the system's code, for what fails before SQLite is asked. */
const BY_SYSTEM: Readonly<Record<string, Sentence>> = {
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
  ENAMETOOLONG: ["STORE_UNAVAILABLE", "cannot be opened: its path is too long", "check --store or KEYCTL_STORE"],
};

/** SQLite's or the system's error as our own, in one sentence; anything else as it is. */
export function storeError(thrown: unknown, path: string): unknown {
  if (isKeyctlError(thrown)) return thrown;
  const sentence = BY_RESULT[resultCode(thrown)] ?? BY_SYSTEM[codeOf(thrown)];
  if (sentence !== undefined) {
    const [code, problem, hint] = sentence;
    return new KeyctlError(code, `the database ${printable(path)} ${problem}`, { hint });
  }
  if (codeOf(thrown) === "ERR_SQLITE_ERROR") {
    return new KeyctlError(
      "STORE_UNAVAILABLE",
      `the database ${printable(path)} failed (SQLite result code ${resultCode(thrown)})`,
    );
  }
  return thrown;
}
