import { closeSync, unlinkSync } from "node:fs";
import { openPrivateFile } from "./private-files.ts";
import { backOff } from "../core/async/sleep.ts";
import { codeOf } from "./system-error.ts";

const PAUSE_MS = 50;

/**
 * Runs `work` while this process holds the lock file. The file exists as long as a process holds it. A killed process leaves
 * it behind, and then only a person can tell that it is stale. Throws `heldTooLong` if the file still exists after that many
 * milliseconds, the system's error if it cannot be created, or the signal's reason.
 */
export async function whileLocked<Result>(
  path: string,
  waitMs: number,
  act: () => Result,
  signal: AbortSignal,
): Promise<Result | "held too long"> {
  const deadline = Date.now() + waitMs;
  while (!take(path)) {
    if (Date.now() >= deadline) return "held too long";
    await backOff(PAUSE_MS);
    signal.throwIfAborted();
  }
  try {
    return act();
  } finally {
    unlinkSync(path);
  }
}

function take(path: string): boolean {
  try {
    closeSync(openPrivateFile(path));
    return true;
  } catch (thrown) {
    if (codeOf(thrown) === "EEXIST") return false;
    throw thrown;
  }
}
