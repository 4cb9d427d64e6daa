import { accessSync, constants } from "node:fs";
import { dirname } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { KeyctlError } from "../../core/model/errors.ts";
import { toKeyctlError } from "../../core/async/deadline.ts";
import type { StoreFacts, StoreProblem } from "../../core/ports/stores-and-sources.ts";
import { printable } from "../../core/text/printable.ts";
import { shellQuote } from "../../core/text/shell-quote.ts";
import { hasSafeWal } from "./database.ts";
import { exposuresOf } from "./exposure.ts";
import { READ_ONLY, storeError } from "./errors.ts";
import { whileUnlocked } from "./retry-locked.ts";

const INDEX = "api_keys_user";

/** As `Inspection.inspect`. A transaction that is rolled back shows whether the file accepts writes. */
export async function inspectDatabase(database: DatabaseSync, path: string, signal: AbortSignal): Promise<StoreFacts> {
  const read = () => {
    return {
      version: String(valueOf(database, "SELECT sqlite_version()")),
      journalMode: String(valueOf(database, "PRAGMA journal_mode")),
      hasIndex:
        valueOf(database, `SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND name = '${INDEX}'`) === 1,
    };
  };
  try {
    const { version, journalMode, hasIndex } = await whileUnlocked(read, signal);
    return {
      server: `SQLite ${version}`,
      details: [`journal mode ${journalMode}`, ...(hasIndex ? ["index present"] : [])],
      refusal: await refusalOf(database, path, signal),
      problems: [
        ...(journalMode === "wal" && !hasSafeWal(database) ? [unsafeWal(version, path)] : []),
        ...(hasIndex ? [] : [noIndex(path)]),
        ...exposuresOf(path),
      ],
    };
  } catch (thrown) {
    throw storeError(thrown, path);
  }
}

function valueOf(database: DatabaseSync, query: string): unknown {
  return Object.values(database.prepare(query).get() ?? {})[0];
}

async function refusalOf(database: DatabaseSync, path: string, signal: AbortSignal): Promise<KeyctlError | null> {
  try {
    await whileUnlocked(() => writeNothing(database), signal);
  } catch (thrown) {
    return toKeyctlError(storeError(thrown, path), signal);
  }
  return mayWriteBeside(path) ? null : readOnly(path);
}

/** A write transaction that changes nothing. On a read-only file, SQLite allows its start and refuses the deletion. */
function writeNothing(database: DatabaseSync): void {
  database.exec("BEGIN IMMEDIATE");
  try {
    database.exec("DELETE FROM api_keys WHERE 0");
  } finally {
    database.exec("ROLLBACK");
  }
}

/** A change needs a journal next to the file. */
function mayWriteBeside(path: string): boolean {
  try {
    accessSync(dirname(path), constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function readOnly(path: string): KeyctlError {
  const [code, , hint] = READ_ONLY;
  return new KeyctlError(code, `the folder of the database ${printable(path)} is read-only`, { hint });
}

/** https://sqlite.org/wal.html#walresetbug */
function unsafeWal(version: string, path: string): StoreProblem {
  return {
    isFailure: false,
    message: `journal mode wal: SQLite ${version} may lose a commit in it; 3.51.3 and newer do not`,
    hint: `use a newer Node, or: sqlite3 ${shellQuote(path)} 'PRAGMA journal_mode=DELETE'`,
  };
}

function noIndex(path: string): StoreProblem {
  return {
    isFailure: true,
    message: `the index ${INDEX} is missing: two processes may store two keys of one user`,
    hint: `sqlite3 ${shellQuote(path)} 'CREATE UNIQUE INDEX ${INDEX} ON api_keys (user_id, provider)'`,
  };
}
