/** Rejects with the signal's reason as soon as that is aborted. */
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

/** Waits between two attempts, from half of this time to one and a half: those who wait together do not meet again. */
export function backOff(milliseconds: number): Promise<void> {
  return sleep(milliseconds * (0.5 + Math.random()));
}

/**
 * Lets a signal in: between synchronous calls to the store nothing else would. Signals are looked at with input and
 * output; after a callback of those, the first immediate still comes before the next look.
 */
export async function yieldToEventLoop(): Promise<void> {
  for (let turn = 0; turn < 2; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
