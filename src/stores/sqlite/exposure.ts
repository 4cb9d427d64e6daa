import { realpathSync, statSync } from "node:fs";
import type { Stats } from "node:fs";
import { dirname } from "node:path";
import { OWNER_OR_MOUNT } from "../../core/model/key-file-mode.ts";
import type { StoreProblem } from "../../core/ports/stores-and-sources.ts";
import { octal } from "../../core/text/format.ts";
import { printable } from "../../core/text/printable.ts";
import { shellQuote } from "../../core/text/shell-quote.ts";
import { canChangeMode } from "../../files/file-mode.ts";

const WRITABLE_BY_OTHERS = 0o022;
const STICKY = 0o1000;
const ROOT = 0;

/**
 * The ways in which another user of the machine can change the database: by writing a key into a row, or by replacing
 * the file or its log. Empty on Windows, which has no mode bits, and for a path that cannot be read.
 */
export function exposuresOf(path: string): readonly StoreProblem[] {
  const user = process.getuid?.();
  if (user === undefined) return [];
  try {
    const file = realpathSync.native(path);
    const folder = dirname(file);
    const stats = statSync(file);
    if (!stats.isFile()) return [];
    return [...exposuresOfFile(file, stats, user), ...exposuresOfFolder(folder, statSync(folder), user)];
  } catch {
    return [];
  }
}

function exposuresOfFile(path: string, { mode, uid }: Stats, user: number): readonly StoreProblem[] {
  const name = `the database file ${printable(path)}`;
  const isOpen = (mode & WRITABLE_BY_OTHERS) !== 0;
  return [
    ...(isOpen ? [modeProblem(name, path, { mode, uid })] : []),
    ...(uid === user ? [] : [foreign(name, path, uid)]),
  ];
}

/** A folder that root owns is no problem: root can change the database anyway. */
function exposuresOfFolder(path: string, { mode, uid }: Stats, user: number): readonly StoreProblem[] {
  const name = `the folder of the database, ${printable(path)},`;
  const isOpen = (mode & WRITABLE_BY_OTHERS) !== 0;
  return [
    ...(isOpen ? [modeProblem(name, path, { mode, uid })] : []),
    ...(uid === user || uid === ROOT ? [] : [foreign(name, path, uid)]),
  ];
}

function modeProblem(name: string, path: string, { mode, uid }: Pick<Stats, "mode" | "uid">): StoreProblem {
  const message = `${name} can be written by ${others(mode)}`;
  if ((mode & STICKY) !== 0) return problem(message, "move the database to a folder of your own");
  if (canChangeMode(path, uid)) return problem(message, `chmod go-w ${shellQuote(path)}`);
  return { ...problem(message, OWNER_OR_MOUNT), fixable: false };
}

function others(mode: number): string {
  const who = (mode & 0o002) !== 0 ? "other users of this machine" : "its group";
  return `${who} (mode ${octal(mode & 0o7777)})`;
}

function foreign(name: string, path: string, uid: number): StoreProblem {
  return problem(
    `${name} belongs to another user (uid ${uid})`,
    `run keyctl as that user, or: sudo chown "$(id -u)" ${shellQuote(path)}`,
  );
}

function problem(message: string, hint: string): StoreProblem {
  return { isFailure: false, message, hint };
}
