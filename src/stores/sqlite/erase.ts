import { statSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { backOff } from "../../core/async/sleep.ts";
import { isKeyctlError } from "../../core/model/errors.ts";
import type { ErasureTask, Remains } from "../../core/ports/stores-and-sources.ts";
import { openStoreError } from "./errors.ts";
import type { DatabaseFile } from "./file.ts";
import { isSqliteError } from "./result.ts";
import { walOf } from "./wal-owner.ts";

/** Rewritten in less than a tenth of a second, in which no signal is heard. */
const SMALL_BYTES = 8 * 1024 * 1024;
/** Of a run that goes through the whole store, in less than a second or two. */
const MAX_BYTES = 256 * 1024 * 1024;
const WAIT_MS = 1_000;
const PAUSE_MS = 25;

/**
 * **Invariant:** what was removed is on the disk no more when this gives null. `secure_delete` zeroes a cell that is freed. It
 * does not zero the copies that stay in free space where SQLite has moved rows from page to page, which only a rewrite
 * of the file removes. The log keeps every older state until it is brought into the database and cut off.
 * Never rejects for a store that is busy or full: what was done before is done.
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
  // That a large file is not rewritten for each row that is removed is known, and told of a whole run alone.
  if (isRewritten || (!mayRewrite && !isThorough)) return null;
  return { place: file.path, how: mayRewrite ? "held" : "too large" };
}

/** Whether this was done within a moment: another program may be in the way for as long as it likes. */
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
    // A checkpoint has changed the database file, which the note beside the log must know.
    file.afterWrite();
    return isDone;
  } catch (thrown) {
    const error = openStoreError(thrown, file.path);
    if (isKeyctlError(error) || isSqliteError(thrown)) return false;
    throw thrown;
  }
}

function rewrite(database: DatabaseSync): boolean {
  // Not in a file of its own, where the rows would be once more.
  database.exec("PRAGMA temp_store=MEMORY; VACUUM");
  return true;
}

/** True as well where there is no log. */
function cutOffLog(database: DatabaseSync): boolean {
  return database.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get()?.["busy"] === 0;
}
