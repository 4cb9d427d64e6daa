/** Rejects with the signal's reason as soon as it is aborted. */
export function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    if (signal?.aborted === true) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

/** Waits between two attempts, from half of this time to one and a half times: concurrent waiters spread out. */
export function backOff(milliseconds: number): Promise<void> {
  return sleep(milliseconds * (0.5 + Math.random()));
}

/**
 * Lets the process handle a signal, which synchronous calls to the store prevent. Node checks signals in its poll phase;
 * after a poll callback, the first immediate still runs before the next check.
 */
export async function yieldToEventLoop(): Promise<void> {
  for (let turn = 0; turn < 2; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
