import { closeSync, unlinkSync } from "node:fs";
import { openPrivateFile } from "./private-files.ts";
import { backOff } from "../core/async/sleep.ts";
import { codeOf } from "./system-error.ts";

const PAUSE_MS = 50;

/**
 * Does this while no other process holds the lock file, which exists as long as somebody does: one who was killed leaves it,
 * and then only a person can say that nobody is at work. `heldTooLong` when it is still there after that many milliseconds.
 * Throws the system's error where the file cannot be made, or the signal's reason.
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
