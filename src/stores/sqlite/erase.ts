import { statSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { backOff } from "../../core/async/sleep.ts";
import { isKeyctlError } from "../../core/model/errors.ts";
import type { KeyctlError } from "../../core/model/errors.ts";
import type { ErasureTask, Remains } from "../../core/ports/stores-and-sources.ts";
import { openStoreError } from "./errors.ts";
import type { DatabaseFile } from "./file.ts";
import { isLocked } from "./retry-locked.ts";
import { walOf } from "./wal-owner.ts";

/** A rewrite of this size takes less than 0.1 s, during which no signal is handled. */
const SMALL_BYTES = 8 * 1024 * 1024;
/** The limit after work on all rows: a rewrite of this size takes less than 2 s. */
const MAX_BYTES = 256 * 1024 * 1024;
const WAIT_MS = 1_000;
const PAUSE_MS = 25;

export function isTooLargeToRewrite(database: string): boolean {
  return statSync(database).size > MAX_BYTES;
}

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
  const { realPath } = file;
  const mayRewrite = isThorough ? !isTooLargeToRewrite(realPath) : statSync(realPath).size <= SMALL_BYTES;
  const rewriting = mayRewrite ? await inTime(database, file, rewrite, signal) : "done";
  const cutting = await inTime(database, file, cutOffLog, signal);
  if (cutting !== "done") return remains(walOf(realPath), cutting);
  if (rewriting !== "done") return remains(realPath, rewriting);
  // A large file is not rewritten for each removed row: that is reported only after work on all rows.
  return mayRewrite || !isThorough ? null : { place: realPath, how: "too large" };
}

/** Another program blocks the work, or it failed with this error. */
type Obstacle = "held" | KeyctlError;

function remains(place: string, obstacle: Obstacle): Remains {
  return obstacle === "held" ? { place, how: "held" } : { place, how: "failed", error: obstacle };
}

/** `held` if the work was blocked for WAIT_MS: another program may block it for any length of time. */
async function inTime(
  database: DatabaseSync,
  file: DatabaseFile,
  work: (database: DatabaseSync) => boolean,
  signal: AbortSignal,
): Promise<"done" | Obstacle> {
  const until = performance.now() + WAIT_MS;
  while (!signal.aborted) {
    const result = attempt(database, file, work);
    if (result !== "held" || performance.now() > until) return result;
    await backOff(PAUSE_MS);
  }
  return "held";
}

function attempt(
  database: DatabaseSync,
  file: DatabaseFile,
  work: (database: DatabaseSync) => boolean,
): "done" | Obstacle {
  try {
    file.beforeWrite();
    const isDone = work(database);
    // A checkpoint has changed the database file: the note next to the log must record that.
    file.afterWrite();
    return isDone ? "done" : "held";
  } catch (thrown) {
    if (isLocked(thrown)) return "held";
    const error = openStoreError(thrown, file.path);
    if (isKeyctlError(error)) return error;
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
