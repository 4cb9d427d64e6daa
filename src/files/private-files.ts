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

/** Makes the folder and those above it that are missing; new ones are 0700, whatever the umask. */
export function makePrivateFolder(path: string): void {
  if (existsSync(path)) return;
  makePrivateFolder(dirname(path));
  try {
    mkdirSync(path, 0o700);
    chmodSync(path, 0o700);
  } catch (thrown) {
    // Another process made it at the same time.
    if (codeOf(thrown) !== "EEXIST") throw thrown;
  }
}

/** Opens a file that must not exist yet, 0600 whatever the umask. Rejects with EEXIST. */
export function openPrivateFile(path: string): number {
  const file = openSync(path, "wx", 0o600);
  fchmodSync(file, 0o600);
  return file;
}

/**
 * Gives the file this content unless it is there already; returns what it holds then. Many processes may try at once:
 * one wins, none ever sees a part of the content, and it is on the disk before this returns.
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

/** Writes and closes it; then it is on the disk. */
export function writeSynced(file: number, content: string): void {
  try {
    writeFileSync(file, content);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Makes a new name in a folder survive a power cut; Windows cannot open a folder and needs no such step. */
export function syncFolder(path: string): void {
  if (process.platform === "win32") return;
  const folder = openSync(path, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
