import { chmodSync, chownSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { openPrivateFile, syncFolder, writeSynced } from "./private-files.ts";
import { temporaryPath } from "./temporary-path.ts";

/**
 * Gives a file that is there another content, in one step: who reads it sees the old one or the new one, and after a
 * power cut it is one of them. Owner and mode stay, so that whoever could read it still can; a new owner would be refused.
 * Throws the system's error, and then nothing has changed.
 */
export function replaceFile(path: string, content: string): void {
  const { mode, uid, gid } = statSync(path);
  const folder = dirname(path);
  const draft = temporaryPath(path);
  try {
    writeSynced(openPrivateFile(draft), content);
    const made = statSync(draft);
    if (made.uid !== uid || made.gid !== gid) chownSync(draft, uid, gid);
    chmodSync(draft, mode & 0o777);
    renameSync(draft, path);
  } catch (thrown) {
    rmSync(draft, { force: true });
    throw thrown;
  }
  syncFolder(folder);
}
