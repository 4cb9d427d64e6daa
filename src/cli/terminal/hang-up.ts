import { sleep } from "../../core/async/sleep.ts";
import { codeOf } from "../../files/system-error.ts";

const SIGNAL_COMES_MS = 2000;

/** Reading or writing failed because the terminal was closed. */
export function isHangUp(thrown: unknown): boolean {
  return codeOf(thrown) === "EIO";
}

/** A terminal that is closed fails first, and SIGHUP comes a moment later. Rejects with the signal's reason when it has come. */
export function waitForHangUp(signal: AbortSignal): Promise<void> {
  return sleep(SIGNAL_COMES_MS, signal);
}
