import {
  chmodSync,
  closeSync,
  existsSync,
  fchmodSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { temporaryPath } from "./temporary-path.ts";
import { codeOf } from "./system-error.ts";

/** Creates the folder and its missing parents, with mode 0700 whatever the umask. */
export function makePrivateFolder(path: string): void {
  if (existsSync(path)) return;
  makePrivateFolder(dirname(path));
  try {
    mkdirSync(path, 0o700);
    chmodSync(path, 0o700);
  } catch (thrown) {
    // Another process created it at the same time.
    if (codeOf(thrown) !== "EEXIST") throw thrown;
  }
}

/** Creates a file that must not exist yet, with mode 0600 whatever the umask. Throws EEXIST. */
export function openPrivateFile(path: string): number {
  const file = openSync(path, "wx", 0o600);
  fchmodSync(file, 0o600);
  return file;
}

/**
 * Creates the file with this content unless it exists, and returns what it holds. Of many concurrent processes one wins, and
 * none ever sees a part of the content. The content is on the disk before this returns.
 */
export function createOnce(path: string, content: string): string {
  const folder = dirname(path);
  makePrivateFolder(folder);
  const draft = temporaryPath(path);
  const file = openPrivateFile(draft);
  try {
    writeSynced(file, content);
    linkSync(draft, path);
  } catch (thrown) {
    if (codeOf(thrown) !== "EEXIST") throw thrown;
  } finally {
    unlinkSync(draft);
  }
  syncFolder(folder);
  return readFileSync(path, "utf8");
}

/** Writes and closes the file; its content is then on the disk. */
export function writeSynced(file: number, content: string): void {
  try {
    writeFileSync(file, content);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Makes a new name in a folder survive a power cut. Windows cannot open a folder and does not need this step. */
export function syncFolder(path: string): void {
  if (process.platform === "win32") return;
  const folder = openSync(path, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
