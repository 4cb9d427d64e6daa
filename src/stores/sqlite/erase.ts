import { statSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { backOff } from "../../core/async/sleep.ts";
import { isKeyctlError } from "../../core/model/errors.ts";
import type { ErasureTask, Remains } from "../../core/ports/stores-and-sources.ts";
import { openStoreError } from "./errors.ts";
import type { DatabaseFile } from "./file.ts";
import { isSqliteError } from "./result.ts";
import { walOf } from "./wal-owner.ts";

/** A rewrite of this size takes less than 0.1 s, during which no signal is handled. */
const SMALL_BYTES = 8 * 1024 * 1024;
/** The limit after work on all rows: a rewrite of this size takes less than 2 s. */
const MAX_BYTES = 256 * 1024 * 1024;
const WAIT_MS = 1_000;
const PAUSE_MS = 25;

/**
 * **Invariant:** null means that what was removed is no longer on the disk. The exception is a file above SMALL_BYTES
 * and a task that is not thorough: copies in its free space may remain. Never rejects for a store that is busy or full:
 * the removal itself is already done. `secure_delete` zeroes a freed cell, but not the copies that stay in free space
 * after SQLite moved rows between pages: only a rewrite of the file removes these. The log keeps every older state
 * until a checkpoint truncates it.
 */
export async function eraseFromFile(
  database: DatabaseSync,
  file: DatabaseFile,
  { isThorough }: ErasureTask,
  signal: AbortSignal,
): Promise<Remains | null> {
  const mayRewrite = statSync(file.path).size <= (isThorough ? MAX_BYTES : SMALL_BYTES);
  const isRewritten = mayRewrite && (await inTime(database, file, rewrite, signal));
  if (!(await inTime(database, file, cutOffLog, signal))) return { place: walOf(file.path), how: "held" };
  // A large file is not rewritten for each removed row: that is reported only after work on all rows.
  if (isRewritten || (!mayRewrite && !isThorough)) return null;
  return { place: file.path, how: mayRewrite ? "held" : "too large" };
}

/** Whether the work succeeded within WAIT_MS: another program may block it for any length of time. */
async function inTime(
  database: DatabaseSync,
  file: DatabaseFile,
  work: (database: DatabaseSync) => boolean,
  signal: AbortSignal,
): Promise<boolean> {
  const until = performance.now() + WAIT_MS;
  while (!signal.aborted) {
    if (attempt(database, file, work)) return true;
    if (performance.now() > until) return false;
    await backOff(PAUSE_MS);
  }
  return false;
}

function attempt(database: DatabaseSync, file: DatabaseFile, work: (database: DatabaseSync) => boolean): boolean {
  try {
    file.beforeWrite();
    const isDone = work(database);
    // A checkpoint has changed the database file: the note next to the log must record that.
    file.afterWrite();
    return isDone;
  } catch (thrown) {
    const error = openStoreError(thrown, file.path);
    if (isKeyctlError(error) || isSqliteError(thrown)) return false;
    throw thrown;
  }
}

function rewrite(database: DatabaseSync): boolean {
  // A temporary file would hold another copy of the rows.
  database.exec("PRAGMA temp_store=MEMORY; VACUUM");
  return true;
}

/** Also true if there is no log. */
function cutOffLog(database: DatabaseSync): boolean {
  return database.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get()?.["busy"] === 0;
}
