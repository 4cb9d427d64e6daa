import { chmodSync, chownSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { openPrivateFile, syncFolder, writeSynced } from "./private-files.ts";
import { temporaryPath } from "./temporary-path.ts";

/**
 * Replaces the content of an existing file in one step: a reader sees the old or the new content, and after a power cut the
 * file holds one of them. Owner and mode stay, so everybody who could read the file still can. Throws the system's error;
 * nothing has changed then.
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
