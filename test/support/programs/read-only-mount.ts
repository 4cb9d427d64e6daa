import { execFileSync } from "node:child_process";
import { shellQuote } from "../../../src/core/text/shell-quote.ts";

/** A shell line after which this folder is on a read-only mount, as the secrets and the volumes of a container are. */
export function readOnlyMount(folder: string): string {
  const path = shellQuote(folder);
  const mount = `mount --bind ${path} ${path} && mount -o remount,bind,ro ${path} && exec "$0" "$@"`;
  return `exec unshare --mount sh -c ${shellQuote(mount)} "$0" "$@"`;
}

/** Whether the tests may mount: as root, outside of a sandbox. */
export const MAY_MOUNT = succeeds("unshare", ["--mount", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]);

/** A shell line after which the tool is run by another user than the owner of the files. Only root can do that. */
export const AS_ANOTHER_USER = 'exec setpriv --reuid 65534 --regid 65534 --clear-groups "$0" "$@"';
export const MAY_BE_ANOTHER_USER = process.getuid?.() === 0 && succeeds("setpriv", ["--reuid", "65534", "true"]);

function succeeds(program: string, words: readonly string[]): boolean {
  try {
    execFileSync(program, words, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
