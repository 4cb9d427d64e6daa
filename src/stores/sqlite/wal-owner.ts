import { chmodSync, closeSync, readSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import type { BigIntStats } from "node:fs";
import { dirname } from "node:path";
import { openPrivateFile, syncFolder, writeSynced } from "../../files/private-files.ts";
import { readBeginning, readRegularFile } from "../../files/read-regular-file.ts";
import { temporaryPath } from "../../files/temporary-path.ts";
import { keptDescriptor } from "./kept-descriptor.ts";

/**
 * **Invariant:** a write-ahead log is replayed only into the database file that it was written for. SQLite finds the
 * log by its name. A log that a killed process has left would undo or damage a database that is restored under the same
 * name. A note beside the log (`-wal-owner`) names the database file and its last change. Without a note, or with a
 * note about another log, the log is used as SQLite uses it: a crash needs no note to be recovered from.
 */
interface Note {
  /** The database file, as `nameOf` names it. */
  readonly main: string;
  /** The log. */
  readonly wal: string;
  /** When the database file was last changed before a write to the log, in nanoseconds. */
  readonly mainChangedNs: bigint;
}

const MAX_NOTE_BYTES = 200;
const WAL_SALTS = [16, 24] as const;
const WAL_HEADER_BYTES = 32;

export function walOf(database: string): string {
  return `${database}-wal`;
}

/** The stats of this path, with symbolic links followed; undefined if nothing is there. */
export function statsOf(path: string): BigIntStats | undefined {
  return statSync(path, { bigint: true, throwIfNoEntry: false });
}

/**
 * Whether the log of this database was written for another file, or for what this file held before it was overwritten.
 * Asked before SQLite opens the database, which replays the log.
 */
export function hasForeignWal(database: string): boolean {
  const wal = statsOf(walOf(database));
  if (wal === undefined || wal.size === 0n) {
    removeNote(database);
    return false;
  }
  const note = readNote(database);
  const main = statsOf(database);
  // The log was copied to here, perhaps with its database, or another program has written it.
  if (main === undefined || note?.wal !== nameOf(wal)) return false;
  if (note.main !== nameOf(main)) return true;
  // Restoring a file together with its old times (cp -p) still changes its ctime. It may do so in the same tick of the
  // kernel's clock, several milliseconds long, as the last write to the log.
  if (main.mtimeNs === note.mainChangedNs || main.ctimeNs < wal.mtimeNs) return false;
  return !mayBeCheckpoint(database);
}

/** Identifies a file on its file system: the inode alone may be reused once the file is deleted. */
function nameOf({ ino, birthtimeNs }: BigIntStats): string {
  return `${ino}@${birthtimeNs}`;
}

/**
 * Writes the note of a log. Called before a write goes into the log, and after a checkpoint has changed the database
 * file. A failure is ignored: the write itself reports the problem with the folder.
 */
export function noteOwner(database: string, main: BigIntStats, wal: BigIntStats): void {
  const note = { main: nameOf(main), wal: nameOf(wal), mainChangedNs: main.mtimeNs };
  try {
    const before = readNote(database);
    if (before === undefined || textOf(before) !== textOf(note)) writeNote(database, note, main, before !== undefined);
  } catch {
    // The log is used without a note.
  }
}

/** Called when a connection is closed. Removes the note of a missing or empty log: the next log may get its inode. */
export function forgetOwner(database: string): void {
  if ((statsOf(walOf(database))?.size ?? 0n) === 0n) removeNote(database);
}

/**
 * Whether a checkpoint, perhaps a killed one, may have changed the database file after the last write to the log. The
 * index of the log counts the frames that a checkpoint was to copy: fewer than the log has means that none was at work.
 * https://sqlite.org/walformat.html#the_wal_index_file_format
 */
function mayBeCheckpoint(database: string): boolean {
  const index = readIndex(`${database}-shm`);
  const wal = readBeginning(walOf(database), WAL_HEADER_BYTES);
  if (index === undefined || wal.status !== "read") return true;
  const [header, copy] = [index.subarray(0, 48), index.subarray(48, 96)];
  const isOfThisWal = header.subarray(32, 40).equals(wal.bytes.subarray(...WAL_SALTS));
  if (!header.equals(copy) || !isOfThisWal) return true;
  // The index is in the byte order of this machine.
  const numbers = new Uint32Array(new Uint8Array(index).buffer);
  const [frames = 0, attempted = 0] = [numbers[4], numbers[32]];
  return attempted >= frames;
}

const INDEX_BYTES = 136;

/** The first bytes of the index. */
function readIndex(path: string): Buffer | undefined {
  const stats = statsOf(path);
  if (stats === undefined || stats.size < INDEX_BYTES) return undefined;
  try {
    const bytes = Buffer.alloc(INDEX_BYTES);
    return readSync(keptDescriptor(path), bytes, 0, INDEX_BYTES, 0) === INDEX_BYTES ? bytes : undefined;
  } catch {
    return undefined;
  }
}

function noteOf(database: string): string {
  return `${database}-wal-owner`;
}

function textOf({ main, wal, mainChangedNs }: Note): string {
  return `${main} ${wal} ${mainChangedNs}\n`;
}

function readNote(database: string): Note | undefined {
  const file = readRegularFile(noteOf(database), MAX_NOTE_BYTES);
  if (file.status !== "read") return undefined;
  const match = /^(\d+@\d+) (\d+@\d+) (\d+)\n$/.exec(file.bytes.toString("latin1"));
  if (match === null) return undefined;
  const [, main = "", wal = "", mainChangedNs = ""] = match;
  return { main, wal, mainChangedNs: BigInt(mainChangedNs) };
}

/** @param durable syncs the note: if a power cut brought an older note back, a checkpoint would look like a restore */
function writeNote(database: string, note: Note, main: BigIntStats, durable: boolean): void {
  const path = noteOf(database);
  const draft = temporaryPath(path);
  const file = openPrivateFile(draft);
  try {
    if (durable) writeSynced(file, textOf(note));
    else {
      writeFileSync(file, textOf(note));
      closeSync(file);
    }
    // Every user who may use the database may read the note.
    chmodSync(draft, Number(main.mode) & 0o777);
    renameSync(draft, path);
  } catch (thrown) {
    rmSync(draft, { force: true });
    throw thrown;
  }
  if (durable) syncFolder(dirname(path));
}

function removeNote(database: string): void {
  try {
    if (statsOf(noteOf(database)) !== undefined) rmSync(noteOf(database), { force: true });
  } catch {
    // A folder that cannot be changed keeps the note.
  }
}
