/** A warning about a result; not an error. `code` is for programs. */
export interface Warning {
  readonly code: WarningCode;
  readonly message: string;
  /** False if nobody who runs this command can act on it: people are told once, and not with --quiet. */
  readonly fixable?: false;
}

export type WarningCode =
  | "KEY_FILE_IGNORED"
  | "KEY_FILE_MODE"
  | "KEY_FILE_MISSING"
  | "ENVIRONMENT_KEY_IGNORED"
  | "KEY_SHAPE"
  | "FIELDS_LEFT"
  | "PLAIN_KEYS_SEALED"
  | "STILL_ON_DISK"
  | "MASTER_KEY_GUESSABLE"
  | "STORE_EXPOSED"
  | "KEY_SHARED"
  | "KEY_EXPIRED"
  | "KEY_KNOWN_INVALID"
  | "KEY_IN_PLAIN_TEXT"
  | "EXPIRY_UNKNOWN"
  | "TIME_IN_FUTURE"
  | "NOT_RECORDED"
  | "LISTING_INCOMPLETE"
  | "ACCOUNT_UNKNOWN"
  | "RESTRICTIONS_UNKNOWN"
  | "GRACE_DOUBLES_BUDGET"
  | "LIMIT_WHOLE_AGAIN"
  | "PURGE_FINISHED"
  | "USAGE_UNKNOWN"
  | "USAGE_INCOMPLETE"
  | "USER_WITHOUT_KEY"
  | "KEY_NOT_ASKED"
  | "LEAKED_KEY_HERE"
  | "LIMIT_USED_UP"
  | "NO_LIMIT"
  | "HISTORY_NOT_WRITTEN";
