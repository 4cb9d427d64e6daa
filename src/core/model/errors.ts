/**
 * Every way in which keyctl can fail, as a closed set. A code is part of the interface: it is never renamed.
 * Anything else that is thrown is a bug.
 */
export type ErrorCode =
  | "BUG"
  | "OUTPUT_FAILED"
  | "USAGE"
  | "BAD_USER_ID"
  | "BAD_KEY_FORMAT"
  | "KEY_IS_MASKED"
  | "SECRET_IN_ARGV"
  | "CONFIRMATION_NEEDED"
  | "NO_KEY"
  | "EMPTY_SELECTION"
  | "TOO_FEW_KEYS"
  | "CONFIG_EMPTY"
  | "CONFIG_INVALID"
  | "CONFIG_CONFLICT"
  | "MASTER_KEY_MISSING"
  | "MASTER_KEY_WRONG"
  | "MANAGEMENT_KEY_MISSING"
  | "MANAGEMENT_KEY_REFUSED"
  | "MANAGEMENT_KEY_AS_USER_KEY"
  | "MANAGEMENT_KEY_OF_ANOTHER_ACCOUNT"
  | "PROVISION_REFUSED"
  | "STORE_DENIED"
  | "STORE_NOT_ATOMIC"
  | "KEY_INVALID"
  | "VERDICT_UNKNOWN"
  | "PROVIDER_UNAVAILABLE"
  | "PROVISION_PENDING"
  | "PROVISION_CAP"
  | "NEW_KEY_REFUSED"
  | "STORE_UNAVAILABLE"
  | "STORE_MISSING"
  | "STORE_NEWER"
  | "STORE_CORRUPT"
  | "ROW_UNREADABLE"
  | "KEY_EXISTS"
  | "CONFLICT"
  | "FOREIGN_KEY"
  | "COUNT_CHANGED"
  | "USER_BLOCKED"
  | "SOME_FAILED"
  | "SOME_INVALID"
  | "SOME_UNKNOWN"
  | "ATTENTION"
  | "REVOKE_PENDING"
  | "RETIREMENT_OVERDUE"
  | "LIMIT_RESTORE_OVERDUE"
  | "INTERRUPTED";

/** A failure with one of these codes concerns every user. */
export const RUN_FATAL_CODES: ReadonlySet<ErrorCode> = new Set([
  "INTERRUPTED",
  "CONFIG_EMPTY",
  "CONFIG_INVALID",
  "CONFIG_CONFLICT",
  "MASTER_KEY_MISSING",
  "MASTER_KEY_WRONG",
  "MANAGEMENT_KEY_MISSING",
  "MANAGEMENT_KEY_REFUSED",
  "MANAGEMENT_KEY_OF_ANOTHER_ACCOUNT",
  "STORE_DENIED",
  "STORE_NOT_ATOMIC",
  "STORE_UNAVAILABLE",
  "STORE_MISSING",
  "STORE_NEWER",
  "STORE_CORRUPT",
]);

/** The failures of a store that concern every user; for some users a key may have been created before. */
export const STORE_FAILURES: ReadonlySet<ErrorCode> = new Set([
  "STORE_DENIED",
  "STORE_UNAVAILABLE",
  "STORE_MISSING",
  "STORE_NEWER",
  "STORE_CORRUPT",
]);

export interface ErrorDetails {
  /** Something that can be typed or done next. */
  readonly hint?: string;
  /** True if the same call may succeed later without any change. */
  readonly retryable?: boolean;
  /** True for a write whose answer was lost: it may have been applied, or may still be. */
  readonly mayHaveHappened?: boolean;
}

/** The only error class. Its message is one sentence in our own words and never holds a secret. */
export class KeyctlError extends Error {
  override readonly name = "KeyctlError";
  readonly code: ErrorCode;
  readonly hint: string | null;
  readonly retryable: boolean;
  readonly mayHaveHappened: boolean;

  constructor(
    code: ErrorCode,
    message: string,
    { hint, retryable = false, mayHaveHappened = false }: ErrorDetails = {},
  ) {
    super(message);
    this.code = code;
    this.hint = hint ?? null;
    this.retryable = retryable;
    this.mayHaveHappened = mayHaveHappened;
  }
}

/** Recognised by its name, not by `instanceof`: each bundled file has its own copy of the class. */
export function isKeyctlError(thrown: unknown): thrown is KeyctlError {
  return thrown instanceof Error && thrown.name === "KeyctlError";
}

/** The same error with another hint. */
export function withHint({ code, message, retryable, mayHaveHappened }: KeyctlError, hint: string): KeyctlError {
  return new KeyctlError(code, message, { hint, retryable, mayHaveHappened });
}
