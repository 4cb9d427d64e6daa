import { sleep } from "../../core/async/sleep.ts";
import { codeOf } from "../../files/system-error.ts";

const SIGNAL_COMES_MS = 2000;

/** Whether reading or writing failed because the terminal was closed. */
export function isHangUp(thrown: unknown): boolean {
  return codeOf(thrown) === "EIO";
}

/** A closed terminal fails first, and SIGHUP follows a moment later. Rejects with the signal's reason once it has arrived. */
export function waitForHangUp(signal: AbortSignal): Promise<void> {
  return sleep(SIGNAL_COMES_MS, signal);
}
