/** As `raceSignal`, for work that observes the signal itself and may report more than a time-out. */
export async function raceSignalWithGrace<Result>(work: Promise<Result>, signal: AbortSignal): Promise<Result> {
  try {
    return await raceSignal(work, signal);
  } catch (thrown) {
    if (signal.aborted && thrown === signal.reason) return settleOr(thrown, work);
    throw thrown;
  }
}

/** The result of the work if it ends at once; else `thrown` is thrown. */
export function settleOr<Result>(thrown: unknown, work: Promise<Result>): Promise<Result> {
  return new Promise((resolve, reject) => {
    work.then(resolve, reject);
    setTimeout(() => reject(thrown), 0);
  });
}

/** The result of the work, or the signal's reason if that comes first. */
export function raceSignal<Result>(work: Promise<Result>, signal: AbortSignal): Promise<Result> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
