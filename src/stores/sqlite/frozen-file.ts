import { accessSync, constants, realpathSync, statfsSync } from "node:fs";
import type { BigIntStats } from "node:fs";
import { dirname } from "node:path";
import { pathToFileURL } from "node:url";
import { KeyctlError } from "../../core/model/errors.ts";
import { printable } from "../../core/text/printable.ts";
import { shellQuote } from "../../core/text/shell-quote.ts";
import { READ_ONLY, readOnlyError } from "./errors.ts";
import type { DatabaseFile } from "./file.ts";
import { RESULT, resultCode } from "./result.ts";
import { statsOf, walOf } from "./wal-owner.ts";

/**
 * **Invariant:** a database that nobody here can lock is read only as long as it does not change. SQLite cannot read a
 * database in WAL mode from a folder in which it cannot create the index of the log. It can be told that the file is
 * immutable, and then takes no lock and looks at no log. So the file is read in that way only on a file system of this
 * machine, without a log or a journal, and every statement checks before and after it that the file is as it was found. A log that
 * holds changes is an error, because the rows without it may be old.
 */
const LOCAL_FILE_SYSTEMS: ReadonlySet<number> = new Set([
  0xef_53, // ext2, ext3, ext4
  0x58_46_53_42, // XFS
  0x91_23_68_3e, // Btrfs
  0x2f_c1_2f_c1, // ZFS
  0xf2_f5_20_10, // F2FS
  0x01_02_19_94, // tmpfs
  0x85_84_58_f6, // ramfs
  0x79_4c_76_30, // overlayfs
  0x73_71_73_68, // SquashFS
  0xe0_f5_e1_e2, // EROFS
  0x96_60, // ISO 9660
  0x4d_44, // FAT
]);

/** Whether SQLite failed as it does on a database in WAL mode whose folder it cannot write to. */
export function needsWritableFolder(thrown: unknown, path: string): boolean {
  const code = resultCode(thrown);
  return (code === RESULT.cannotOpen || code === RESULT.readOnly) && !isWritable(dirname(realpathSync.native(path)));
}

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** The name under which SQLite opens the file without a lock and without a log. */
function frozenLocation(path: string): string {
  return `${pathToFileURL(realpathSync.native(path)).href}?immutable=1`;
}

/** The file at this path, for reading only; `found` are its stats. Throws STORE_UNAVAILABLE if it must not be read so. */
export function frozenFile(path: string, found: BigIntStats): DatabaseFile {
  const realPath = realpathSync.native(path);
  if (!isLocal(realPath)) throw notLocal(path);
  const requireUnchanged = () => {
    const log = [walOf(realPath), `${realPath}-journal`].find((name) => (statsOf(name)?.size ?? 0n) > 0n);
    if (log !== undefined) throw hasLog(path, log);
    if (!isUnchanged(found, statsOf(realPath))) throw changed(path);
  };
  requireUnchanged();
  return {
    path,
    realPath,
    location: frozenLocation(path),
    requireSame: requireUnchanged,
    afterRead: requireUnchanged,
    beforeWrite() {
      throw readOnlyError(path);
    },
    afterWrite: () => {},
    close: (connection) => connection.close(),
  };
}

function isUnchanged(one: BigIntStats, now: BigIntStats | undefined): boolean {
  return (["dev", "ino", "size", "mtimeNs", "ctimeNs"] as const).every((name) => one[name] === now?.[name]);
}

/** False also where it is not known: on macOS, and on file systems of programs, which may be those of another machine. */
function isLocal(path: string): boolean {
  return process.platform === "linux" && LOCAL_FILE_SYSTEMS.has(statfsSync(path).type);
}

function notLocal(path: string): KeyctlError {
  return unreadable(path, "its folder is read-only, and another machine may be writing to it", {
    hint: `where it can be written: sqlite3 ${shellQuote(path)} 'PRAGMA journal_mode=DELETE'`,
  });
}

function hasLog(path: string, log: string): KeyctlError {
  return unreadable(path, `${printable(log)} holds changes, and its folder is read-only`, {
    hint: "run any keyctl command once where that folder can be written, or mount it writable",
  });
}

function changed(path: string): KeyctlError {
  return unreadable(path, "another program has changed it meanwhile, and its folder is read-only", {
    hint: "run it again",
    retryable: true,
  });
}

function unreadable(path: string, why: string, rest: { readonly hint: string; readonly retryable?: boolean }) {
  const [code] = READ_ONLY;
  return new KeyctlError(code, `the database ${printable(path)} cannot be read here: ${why}`, rest);
}
