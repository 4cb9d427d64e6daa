import { backOff } from "./sleep.ts";

const FIRST_PAUSE_MS = 2;
const LONGEST_PAUSE_MS = 100;

/**
 * Does this, and again for as long as what it throws may pass. Pauses double and are of random length, so that those who
 * wait for each other do not meet again. Rejects with the signal's reason when that is aborted between two attempts.
 * `work` must be all or nothing: it is done again from its start.
 */
export async function retryWhile<Result>(
  work: () => Result | Promise<Result>,
  mayPass: (thrown: unknown) => boolean | Promise<boolean>,
  signal: AbortSignal,
): Promise<Result> {
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
    signal.throwIfAborted();
    try {
      return await work();
    } catch (thrown) {
      if (!(await mayPass(thrown))) throw thrown;
    }
    await backOff(pause);
  }
}
