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
import { whileUnlocked } from "./retry-locked.ts";
import { statsOf } from "./wal-owner.ts";
import { KeyctlError } from "../../core/model/errors.ts";
import { printable } from "../../core/text/printable.ts";
import { codeOf } from "../../files/system-error.ts";

/** The first SQLite whose WAL cannot lose a reset: https://sqlite.org/wal.html#walresetbug */
const SAFE_WAL = [3, 51, 3];
/** Short, because it blocks the event loop; longer waits are `whileUnlocked`'s. */
const BUSY_TIMEOUT_MS = 10;

export interface OpenedDatabase {
  readonly connection: DatabaseSync;
  readonly file: DatabaseFile;
  /** It has just got its schema. */
  readonly isNew: boolean;
}

/** Somebody replaces the file again and again. */
const MAX_OPENINGS = 5;
/** A second in all: a crowd of processes is done with what they do at once, and a log that is left stays. */
const MAX_LOOKS = 21;
const LOOK_AGAIN_MS = 50;

/**
 * Opens the database file, and makes it (0600, in a folder that is 0700 if it is new) when it may be made.
 * Undefined when there is none, or no schema in it, and it may not be made. Rejects with STORE_UNAVAILABLE or STORE_CORRUPT.
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

/** `replaced`: another file has taken its place while it was opened. */
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
    throw thrown;
  }
}

/**
 * What stands at this path, whose log is its own. Other processes that open, write and close it at this moment may make
 * it look otherwise: only what stays so is refused.
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

/** `no schema`: its making was cut off, and it may not get one now. */
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

/** Whether its SQLite is new enough for WAL. */
export function hasSafeWal(database: DatabaseSync): boolean {
  const row = database.prepare("SELECT sqlite_version() AS version").get();
  const version = String(row?.["version"]).split(".").map(Number);
  const different = SAFE_WAL.findIndex((part, index) => part !== version[index]);
  return different === -1 || (version[different] ?? 0) > (SAFE_WAL[different] ?? 0);
}

/** Made before SQLite sees it, so that its mode does not depend on the umask; the -wal and -journal files take it over. */
function createFile(path: string): void {
  makePrivateFolder(dirname(path));
  try {
    closeSync(openPrivateFile(path));
  } catch (thrown) {
    if (codeOf(thrown) !== "EEXIST") throw thrown;
  }
}

/** What stands at this path; undefined for nothing. Absent is not unavailable: what cannot be seen, or cannot hold a database, is an error. */
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

function loadSqlite(): Sqlite {
  return process.getBuiltinModule("node:sqlite") ?? loadDropIn();
}

/** Its native file is found and loaded directly: the package's own loader costs a third of Node's start. */
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

/** Where the drop-in's native file is, for one C library or the other. */
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
    return undefined; // Made for the other C library.
  }
  // The native file has the interface of the package, which is that of node:sqlite.
  return module.exports as Sqlite;
}

function foldersAbove(folder: string): readonly string[] {
  const parent = dirname(folder);
  return parent === folder ? [folder] : [folder, ...foldersAbove(parent)];
}
