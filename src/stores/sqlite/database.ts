import { sleep } from "../../core/async/sleep.ts";
import { closeSync, existsSync, lstatSync } from "node:fs";
import type { BigIntStats } from "node:fs";
import { dirname, join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { makePrivateFolder, openPrivateFile } from "../../files/private-files.ts";
import { migrate, schemaVersion } from "./schema.ts";
import { storeError } from "./errors.ts";
import { databaseFile, isSame, refuseForeignLogs } from "./file.ts";
import type { DatabaseFile } from "./file.ts";
import { frozenFile, needsWritableFolder } from "./frozen-file.ts";
import { whileUnlocked } from "./retry-locked.ts";
import { statsOf } from "./wal-owner.ts";
import { KeyctlError } from "../../core/model/errors.ts";
import { printable } from "../../core/text/printable.ts";
import { codeOf } from "../../files/system-error.ts";

/** The first SQLite version without the WAL-reset bug: https://sqlite.org/wal.html#walresetbug */
const SAFE_WAL = [3, 51, 3];
/** Short, because it blocks the event loop; `whileUnlocked` does the longer waits. */
const BUSY_TIMEOUT_MS = 10;

export interface OpenedDatabase {
  readonly connection: DatabaseSync;
  readonly file: DatabaseFile;
  /** This process found it empty and created its schema. */
  readonly isNew: boolean;
}

/** Limits the attempts if another program keeps replacing the file. */
const MAX_OPENINGS = 5;
/** One second in all: concurrent processes finish within this time, while a log that was left behind stays. */
const MAX_LOOKS = 21;
const LOOK_AGAIN_MS = 50;

/**
 * Opens the database file and, with `mayCreate`, creates a missing one (mode 0600, in a folder that has 0700 if it is
 * new). Undefined without `mayCreate` if there is no file or no schema in it. Rejects with STORE_UNAVAILABLE,
 * STORE_CORRUPT or STORE_NEWER.
 */
export async function openDatabase(
  path: string,
  mayCreate: boolean,
  signal: AbortSignal,
): Promise<OpenedDatabase | undefined> {
  try {
    for (let opening = 0; opening < MAX_OPENINGS; opening += 1) {
      const opened = await openOnce(path, mayCreate, signal);
      if (opened !== "replaced") return opened;
    }
    throw unusable(path, "is being replaced again and again");
  } catch (thrown) {
    throw storeError(thrown, path);
  }
}

/** `replaced`: another file took its place while it was opened. */
async function openOnce(
  path: string,
  mayCreate: boolean,
  signal: AbortSignal,
): Promise<OpenedDatabase | "replaced" | undefined> {
  let found = await lookForLogs(path, signal);
  if (!mayCreate && (found === undefined || found.size === 0n)) return undefined;
  if (found === undefined) {
    createFile(path);
    found = look(path);
  }
  const { DatabaseSync } = loadSqlite();
  const connection = new DatabaseSync(path);
  try {
    const state = await whileUnlocked(() => prepare(connection, mayCreate), signal);
    const now = look(path);
    if (found === undefined || now === undefined || !isSame(found, now)) {
      connection.close();
      return "replaced";
    }
    if (state !== "no schema") return { connection, file: databaseFile(path, now), isNew: state === "made" };
    connection.close();
    return undefined;
  } catch (thrown) {
    connection.close();
    if (found !== undefined && needsWritableFolder(thrown, path)) return openFrozen(path, found, signal);
    throw thrown;
  }
}

/** Opens a database for reading only, from a folder in which SQLite cannot create the index of a log. */
async function openFrozen(path: string, found: BigIntStats, signal: AbortSignal): Promise<OpenedDatabase | undefined> {
  const file = frozenFile(path, found);
  const { DatabaseSync } = loadSqlite();
  const connection = new DatabaseSync(file.location, { readOnly: true });
  try {
    const state = await whileUnlocked(() => prepare(connection, false), signal);
    file.afterRead();
    if (state !== "no schema") return { connection, file, isNew: false };
    connection.close();
    return undefined;
  } catch (thrown) {
    connection.close();
    throw thrown;
  }
}

/**
 * The file at this path, once its log is known to belong to it. Other processes that open, write and close the file at
 * this moment can make the log look foreign: it is refused only if it stays so.
 */
async function lookForLogs(path: string, signal: AbortSignal): Promise<BigIntStats | undefined> {
  for (let looks = 1; ; looks += 1) {
    const found = look(path);
    try {
      refuseForeignLogs(path, found);
      return found;
    } catch (thrown) {
      if (looks === MAX_LOOKS) throw thrown;
    }
    await sleep(LOOK_AGAIN_MS, signal);
  }
}

/** `no schema`: the file is empty because its creation was interrupted, and `mayCreate` is false. */
function prepare(database: DatabaseSync, mayCreate: boolean): "made" | "was there" | "no schema" {
  database.exec(`PRAGMA busy_timeout=${BUSY_TIMEOUT_MS}; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON`);
  const version = schemaVersion(database);
  if (version === "empty") {
    if (!mayCreate) return "no schema";
    if (hasSafeWal(database)) database.exec("PRAGMA journal_mode=WAL");
  }
  migrate(database, version);
  return version === "empty" ? "made" : "was there";
}

/** Whether this SQLite is new enough for WAL. */
export function hasSafeWal(database: DatabaseSync): boolean {
  const row = database.prepare("SELECT sqlite_version() AS version").get();
  const version = String(row?.["version"]).split(".").map(Number);
  const different = SAFE_WAL.findIndex((part, index) => part !== version[index]);
  return different === -1 || (version[different] ?? 0) > (SAFE_WAL[different] ?? 0);
}

/** Creates the file before SQLite opens it: its mode does not depend on the umask, and -wal and -journal inherit it. */
function createFile(path: string): void {
  makePrivateFolder(dirname(path));
  try {
    closeSync(openPrivateFile(path));
  } catch (thrown) {
    if (codeOf(thrown) !== "EEXIST") throw thrown;
  }
}

/**
 * The file at this path; undefined if there is none. A path that cannot be read, or that is no regular file, is an
 * error and never counts as absent.
 */
function look(path: string): BigIntStats | undefined {
  const stats = statsOf(path);
  if (stats === undefined) {
    if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() !== true) return undefined;
    throw unusable(path, "is a symbolic link to nothing");
  }
  if (!stats.isFile()) throw unusable(path, "is not a regular file");
  return stats;
}

function unusable(path: string, problem: string): KeyctlError {
  return new KeyctlError("STORE_UNAVAILABLE", `the database ${printable(path)} ${problem}`, {
    hint: "check --store or KEYCTL_STORE",
  });
}

type Sqlite = Pick<typeof import("node:sqlite"), "DatabaseSync">;

/** Throws STORE_UNAVAILABLE if this Node has no SQLite and no drop-in. */
export function requireSqlite(): void {
  loadSqlite();
}

function loadSqlite(): Sqlite {
  return process.getBuiltinModule("node:sqlite") ?? loadDropIn();
}

/** Finds and loads the package's native file directly: the package's own loader costs a third of Node's start. */
function loadDropIn(): Sqlite {
  for (const file of dropInFiles()) {
    const loaded = load(file);
    if (loaded !== undefined) return loaded;
  }
  throw new KeyctlError(
    "STORE_UNAVAILABLE",
    `Node ${process.versions.node} has no SQLite, and its drop-in is not installed`,
    {
      hint: "npm install @photostructure/sqlite@1.2.1, or use Node 22.13 or newer",
    },
  );
}

/** The paths of the drop-in's native files, for both C libraries. */
export function dropInFiles(): readonly string[] {
  const prebuilds = join(
    "node_modules",
    "@photostructure",
    "sqlite",
    "prebuilds",
    `${process.platform}-${process.arch}`,
  );
  return foldersAbove(import.meta.dirname)
    .flatMap((folder) =>
      ["glibc", "musl"].map((libc) => join(folder, prebuilds, `@photostructure+sqlite.${libc}.node`)),
    )
    .filter((file) => existsSync(file));
}

function load(file: string): Sqlite | undefined {
  const module = { exports: {} };
  try {
    process.dlopen(module, file);
  } catch {
    return undefined; // Built for the other C library.
  }
  // The native file has the interface of its package, which is that of node:sqlite.
  return module.exports as Sqlite;
}

function foldersAbove(folder: string): readonly string[] {
  const parent = dirname(folder);
  return parent === folder ? [folder] : [folder, ...foldersAbove(parent)];
}
