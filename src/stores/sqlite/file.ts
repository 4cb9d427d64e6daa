import { realpathSync } from "node:fs";
import type { BigIntStats } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { KeyctlError } from "../../core/model/errors.ts";
import { printable } from "../../core/text/printable.ts";
import { shellQuote } from "../../core/text/shell-quote.ts";
import { forgetOwner, hasForeignWal, noteOwner, statsOf, walOf } from "./wal-owner.ts";

/**
 * **Invariant:** a store stays the file that was opened. SQLite continues with a file that was deleted, moved or
 * replaced, and its writes are then lost: so the path is checked with every statement. While the file is open, no other
 * file can have its inode.
 */
export interface DatabaseFile {
  /** The path as the caller gave it; it may lead through symbolic links. */
  readonly path: string;
  /** The file that the path leads to. SQLite keeps the log beside it. */
  readonly realPath: string;
  /** What another connection opens to read the same file. */
  readonly location: string;
  /** Throws STORE_UNAVAILABLE unless the path still leads to the open file and the file's log is still next to it. */
  requireSame(): void;
  /** The same check after a read, where another program may change what was read. */
  afterRead(): void;
  /** The same check before a write. */
  beforeWrite(): void;
  /** The same check after a write. Its error `mayHaveHappened`: the write may be in a file that has left the path. */
  afterWrite(): void;
  /** Closes the connection to the file. */
  close(connection: DatabaseSync): void;
}

/** The file that is open under this path; `opened` are its stats. */
export function databaseFile(path: string, opened: BigIntStats): DatabaseFile {
  const realPath = realpathSync.native(path);
  let wal = statsOf(walOf(realPath));
  let notedNs: bigint | undefined;
  const look = (mayHaveHappened: boolean) => {
    const main = requireAt(path, opened, mayHaveHappened);
    // A link may have followed the file to another place, where other programs make another log.
    if (realPath !== path) requireAt(realPath, opened, mayHaveHappened);
    const log = statsOf(walOf(realPath));
    // Another program may create a log. An existing log stays as long as this connection is open.
    wal ??= log;
    if (wal !== undefined && (log === undefined || !isSame(log, wal)))
      throw takenAway(walOf(realPath), "was deleted or replaced", mayHaveHappened);
    return { main, isEmpty: log?.size === 0n };
  };
  const lookAndNote = (mayHaveHappened: boolean) => {
    const { main, isEmpty } = look(mayHaveHappened);
    if (wal === undefined || (main.mtimeNs === notedNs && !isEmpty)) return;
    noteOwner(realPath, main, wal);
    notedNs = main.mtimeNs;
  };
  return {
    path,
    realPath,
    location: path,
    requireSame: () => void look(false),
    // The locks that SQLite holds while it reads keep others from changing what it reads.
    afterRead: () => {},
    beforeWrite: () => lookAndNote(false),
    afterWrite: () => lookAndNote(true),
    close(connection) {
      if (notedNs !== undefined && leavesFileOpen()) emptyLog(connection, () => look(false));
      connection.close();
      forgetOwner(realPath);
    },
  };
}

function requireAt(path: string, opened: BigIntStats, mayHaveHappened: boolean): BigIntStats {
  const stats = statsOf(path);
  if (stats === undefined) throw takenAway(path, "was deleted or moved", mayHaveHappened);
  if (!isSame(stats, opened)) throw takenAway(path, "was replaced by another file", mayHaveHappened);
  return stats;
}

/**
 * True for the drop-in of Node 20: it closes the file when its statements are garbage-collected, often at process exit.
 */
export function leavesFileOpen(): boolean {
  return process.getBuiltinModule("node:sqlite") === undefined;
}

/**
 * Copies the log into the database, as closing does. Another connection may prevent this and continue to use the log.
 */
function emptyLog(connection: DatabaseSync, requireSame: () => void): void {
  try {
    requireSame();
    connection.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  } catch {
    // The log and its note stay.
  }
}

/** Throws STORE_UNAVAILABLE for a log that was written for another database, or whose database is gone. */
export function refuseForeignLogs(path: string, main: BigIntStats | undefined): void {
  if (main === undefined) {
    for (const log of [walOf(path), `${path}-journal`]) if (statsOf(log) !== undefined) throw orphaned(path, log);
    return;
  }
  const place = realpathSync.native(path);
  const log = walOf(place);
  // SQLite would delete the log of an empty file.
  if (main.size === 0n && (statsOf(log)?.size ?? 0n) > 0n) throw orphaned(place, log);
  if (hasForeignWal(place)) throw foreign(place, log);
}

export function isSame(one: BigIntStats, other: BigIntStats): boolean {
  return one.ino === other.ino && one.dev === other.dev;
}

function takenAway(path: string, what: string, mayHaveHappened: boolean): KeyctlError {
  return new KeyctlError("STORE_UNAVAILABLE", `the database file ${printable(path)} ${what} while it was in use`, {
    hint: "put it back, or start this program again once the right file is in its place; nothing more is written",
    mayHaveHappened,
  });
}

function orphaned(path: string, log: string): KeyctlError {
  return new KeyctlError(
    "STORE_UNAVAILABLE",
    `the database ${printable(path)} is gone, and ${printable(log)}, which belongs to it, is still there`,
    { hint: `put the database back; if it is to be gone: ${removal(path, log)}` },
  );
}

function foreign(path: string, log: string): KeyctlError {
  return new KeyctlError(
    "STORE_UNAVAILABLE",
    `${printable(log)} belongs to another database than the one that is there: it would undo or damage what was restored`,
    {
      hint: `stop what uses the database, then: ${removal(path, log)}\n      if nothing was restored: rm ${shellQuote(`${path}-wal-owner`)}`,
    },
  );
}

/** Moves the log instead of deleting it: it may hold the last changes. */
function removal(path: string, log: string): string {
  return `mv ${shellQuote(log)} ${shellQuote(`${log}.old`)} && rm -f ${shellQuote(`${path}-shm`)}`;
}
