/** The result codes that keyctl distinguishes: https://sqlite.org/rescode.html */
export const RESULT = {
  error: 1,
  noPermission: 3,
  busy: 5,
  locked: 6,
  noMemory: 7,
  readOnly: 8,
  ioError: 10,
  corrupt: 11,
  full: 13,
  cannotOpen: 14,
  lockProtocol: 15,
  tooBig: 18,
  constraint: 19,
  mismatch: 20,
  denied: 23,
  notADatabase: 26,
  failedRead: 266,
  shortRead: 522,
  failedWrite: 778,
  fileMoved: 1032,
  damagedFileSystem: 8458,
} as const;

/**
 * SQLite's messages. The drop-in for Node 20 throws from `all` and `iterate` with a message but without the code.
 * @see sqlite3ErrStr in https://sqlite.org/src/file/src/main.c
 */
const BY_SENTENCE: readonly (readonly [beginning: string, code: number])[] = [
  ["database disk image is malformed", RESULT.corrupt],
  ["malformed database schema", RESULT.corrupt],
  ["database is locked", RESULT.busy],
  ["database table is locked", RESULT.locked],
  ["database schema is locked", RESULT.locked],
  ["file is not a database", RESULT.notADatabase],
  ["disk I/O error", RESULT.ioError],
  ["unable to open database file", RESULT.cannotOpen],
  ["database or disk is full", RESULT.full],
  ["attempt to write a readonly database", RESULT.readOnly],
  ["access permission denied", RESULT.noPermission],
  ["authorization denied", RESULT.denied],
  ["out of memory", RESULT.noMemory],
  ["string or blob too big", RESULT.tooBig],
  ["datatype mismatch", RESULT.mismatch],
  ["malformed JSON", RESULT.error],
  ["JSON cannot hold BLOB values", RESULT.error],
  // The drop-in's own message; node:sqlite throws ERR_OUT_OF_RANGE instead.
  ["Value is too large to be represented as a JavaScript number", RESULT.mismatch],
];

/** SQLite's extended result code; 0 for an error of another origin, or without a known code. */
export function extendedResultCode(thrown: unknown): number {
  if (!isSqliteError(thrown)) return 0;
  if ("errcode" in thrown && typeof thrown.errcode === "number") return thrown.errcode;
  return BY_SENTENCE.find(([beginning]) => thrown.message.startsWith(beginning))?.[1] ?? 0;
}

/** The result code without its extension. */
export function resultCode(thrown: unknown): number {
  return extendedResultCode(thrown) & 0xff;
}

export function isSqliteError(thrown: unknown): thrown is Error {
  return thrown instanceof Error && "code" in thrown && thrown.code === "ERR_SQLITE_ERROR";
}
