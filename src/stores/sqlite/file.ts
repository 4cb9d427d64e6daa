import { realpathSync } from "node:fs";
import type { BigIntStats } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { KeyctlError } from "../../core/model/errors.ts";
import { printable } from "../../core/text/printable.ts";
import { shellQuote } from "../../core/text/shell-quote.ts";
import { forgetOwner, hasForeignWal, noteOwner, statsOf, walOf } from "./wal-owner.ts";

/**
 * **Invariant:** a store stays the file that was opened. SQLite goes on with a file that was deleted, moved or replaced,
 * and what is written then is nowhere: so the path is looked at beside every statement. While the file is open, no other
 * one can have its inode.
 */
export interface DatabaseFile {
  /** As it was named. */
  readonly path: string;
  /** Throws STORE_UNAVAILABLE unless the path still leads to the open file, and its log is still beside it. */
  requireSame(): void;
  /** The same before a write. */
  beforeWrite(): void;
  /** The same after a write: one that is in a file without a name `mayHaveHappened`. */
  afterWrite(): void;
  /** Closes the connection to it. */
  close(connection: DatabaseSync): void;
}

/** The file that is open under this path, which is the one that `opened` describes. */
export function databaseFile(path: string, opened: BigIntStats): DatabaseFile {
  const place = realpathSync.native(path);
  let wal = statsOf(walOf(place));
  let notedNs: bigint | undefined;
  const look = (mayHaveHappened: boolean) => {
    const main = statsOf(path);
    if (main === undefined) throw takenAway(path, "was deleted or moved", mayHaveHappened);
    if (!isSame(main, opened)) throw takenAway(path, "was replaced by another file", mayHaveHappened);
    const log = statsOf(walOf(place));
    // Another program may begin a log. One that is there stays as long as this connection is open.
    wal ??= log;
    if (wal !== undefined && (log === undefined || !isSame(log, wal)))
      throw takenAway(walOf(path), "was deleted or replaced", mayHaveHappened);
    return { main, isEmpty: log?.size === 0n };
  };
  const lookAndNote = (mayHaveHappened: boolean) => {
    const { main, isEmpty } = look(mayHaveHappened);
    if (wal === undefined || (main.mtimeNs === notedNs && !isEmpty)) return;
    noteOwner(place, main, wal);
    notedNs = main.mtimeNs;
  };
  return {
    path,
    requireSame: () => void look(false),
    beforeWrite: () => lookAndNote(false),
    afterWrite: () => lookAndNote(true),
    close(connection) {
      if (notedNs !== undefined && leavesFileOpen()) emptyLog(connection, () => look(false));
      connection.close();
      forgetOwner(place);
    },
  };
}

/** The drop-in for Node 20 closes the file when its statements are collected, often as late as the process ends. */
export function leavesFileOpen(): boolean {
  return process.getBuiltinModule("node:sqlite") === undefined;
}

/** Brings the log into the database, as closing does. Another connection may be in the way, and go on with it. */
function emptyLog(connection: DatabaseSync, requireSame: () => void): void {
  try {
    requireSame();
    connection.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  } catch {
    // The log stays, and its note with it.
  }
}

/** Throws STORE_UNAVAILABLE where a log stands beside a database that it was not written for, or without one. */
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

/** The log is moved, not deleted: it may hold the last changes. */
function removal(path: string, log: string): string {
  return `mv ${shellQuote(log)} ${shellQuote(`${log}.old`)} && rm -f ${shellQuote(`${path}-shm`)}`;
}
