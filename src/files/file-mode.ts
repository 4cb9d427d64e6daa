import { accessSync, constants } from "node:fs";
import { codeOf } from "./system-error.ts";

const ROOT = 0;

/** Whether this mode of a file lets other users of the machine read it. Windows has no such modes. */
export function isReadableByOthers(mode: number): boolean {
  return process.platform !== "win32" && (mode & 0o044) !== 0;
}

/**
 * Whether this process can change the mode of a file: the owner and root can, unless the file system is read-only, as
 * the secrets of a container are.
 */
export function canChangeMode(path: string, uid: number): boolean {
  const user = process.geteuid?.();
  if (user === undefined) return true;
  if (user !== uid && user !== ROOT) return false;
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch (thrown) {
    return codeOf(thrown) !== "EROFS";
  }
}
