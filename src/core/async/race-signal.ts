/** As `raceSignal`, for work that heeds the signal itself and may say more than that the time is over. */
export async function raceSignalWithGrace<Result>(work: Promise<Result>, signal: AbortSignal): Promise<Result> {
  try {
    return await raceSignal(work, signal);
  } catch (thrown) {
    if (signal.aborted && thrown === signal.reason) return settleOr(thrown, work);
    throw thrown;
  }
}

/** The work's own end if it ends at once; else this is thrown. */
export function settleOr<Result>(thrown: unknown, work: Promise<Result>): Promise<Result> {
  return new Promise((resolve, reject) => {
    work.then(resolve, reject);
    setTimeout(() => reject(thrown), 0);
  });
}

/** The work's own end, or the signal's reason if that comes first. */
export function raceSignal<Result>(work: Promise<Result>, signal: AbortSignal): Promise<Result> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
