import type { ErrorCode } from "../core/model/errors.ts";

/** Published in `keyctl help exit-codes`, the README and docs/exit-codes.md; never renumbered. */
const EXIT_CODES = {
  BUG: 1,
  OUTPUT_FAILED: 1,
  USAGE: 2,
  BAD_USER_ID: 2,
  BAD_KEY_FORMAT: 2,
  KEY_IS_MASKED: 2,
  SECRET_IN_ARGV: 2,
  CONFIRMATION_NEEDED: 2,
  NO_KEY: 3,
  EMPTY_SELECTION: 3,
  TOO_FEW_KEYS: 3,
  CONFIG_EMPTY: 4,
  CONFIG_INVALID: 4,
  CONFIG_CONFLICT: 4,
  MASTER_KEY_MISSING: 4,
  MASTER_KEY_WRONG: 4,
  MANAGEMENT_KEY_MISSING: 4,
  MANAGEMENT_KEY_REFUSED: 4,
  MANAGEMENT_KEY_AS_USER_KEY: 4,
  MANAGEMENT_KEY_OF_ANOTHER_ACCOUNT: 4,
  PROVISION_REFUSED: 4,
  STORE_DENIED: 4,
  STORE_NOT_ATOMIC: 4,
  KEY_INVALID: 5,
  VERDICT_UNKNOWN: 6,
  PROVIDER_UNAVAILABLE: 6,
  PROVISION_PENDING: 6,
  PROVISION_CAP: 6,
  NEW_KEY_REFUSED: 6,
  SOME_UNKNOWN: 6,
  STORE_UNAVAILABLE: 7,
  STORE_MISSING: 7,
  STORE_NEWER: 7,
  STORE_CORRUPT: 7,
  ROW_UNREADABLE: 7,
  KEY_EXISTS: 8,
  CONFLICT: 8,
  FOREIGN_KEY: 8,
  COUNT_CHANGED: 8,
  USER_BLOCKED: 8,
  SOME_FAILED: 9,
  SOME_INVALID: 9,
  ATTENTION: 10,
  REVOKE_PENDING: 10,
  RETIREMENT_OVERDUE: 10,
  LIMIT_RESTORE_OVERDUE: 10,
  INTERRUPTED: 130,
} as const satisfies Record<ErrorCode, number>;

const SIGTERM_EXIT_CODE = 143;

/** The exit code of a run that ended with this error, or without one; that of an interruption depends on the signal. */
export function exitCodeOf(error: { readonly code: ErrorCode } | null, signal?: NodeJS.Signals): number {
  if (error === null) return 0;
  const terminated = signal === "SIGTERM" || signal === "SIGHUP";
  return error.code === "INTERRUPTED" && terminated ? SIGTERM_EXIT_CODE : EXIT_CODES[error.code];
}

/** The signal that a shell reports with this exit code. */
export function signalOf(exitCode: number): "SIGINT" | "SIGTERM" | undefined {
  if (exitCode === SIGTERM_EXIT_CODE) return "SIGTERM";
  return exitCode === EXIT_CODES.INTERRUPTED ? "SIGINT" : undefined;
}

export const EXIT_CODE_MEANINGS: readonly (readonly [code: string, meaning: string])[] = [
  ["0", "done"],
  ["1", "a bug in keyctl, or its output could not be written"],
  ["2", "usage: the command line or the input is wrong, or a question was declined"],
  ["3", "no key: the user has none, or nothing was selected"],
  ["4", "keyctl's own credentials or configuration are missing, empty or wrong"],
  ["5", "the key is invalid"],
  ["6", "unknown: the provider or the network did not answer, or time ran out"],
  ["7", "the store failed, or cannot be reached or read"],
  ["8", "conflict: another key exists, the user is blocked, or another program is changing it"],
  ["9", "some of many failed"],
  ["10", "attention needed"],
  ["130", "interrupted (SIGINT)"],
  ["143", "terminated (SIGTERM, SIGHUP)"],
];
