interface Flight<Result> {
  readonly landing: Promise<Result>;
  readonly controller: AbortController;
  passengers: number;
}

/** One piece of work per name at a time: who asks while it runs shares it. It is given up only when nobody waits for it any more. */
export class SingleFlight<Result> {
  readonly #joinable = new Map<string, Flight<Result>>();
  readonly #inTheAir = new Set<Promise<unknown>>();

  /** Rejects with the reason of `patience` as soon as that is aborted. */
  async run(name: string, start: (signal: AbortSignal) => Promise<Result>, patience: AbortSignal): Promise<Result> {
    const flight = this.#joinable.get(name) ?? this.#start(name, start);
    flight.passengers += 1;
    try {
      return await raceSignal(flight.landing, patience);
    } catch (thrown) {
      if (flight.passengers > 1 || !patience.aborted || thrown !== patience.reason) throw thrown;
      this.#close(name, flight);
      flight.controller.abort(patience.reason);
      // What is given up may have more to say than that the time is over.
      return await settleOr(thrown, flight.landing);
    } finally {
      flight.passengers -= 1;
    }
  }

  /** Resolves when nothing is in the air. */
  async drain(): Promise<void> {
    await Promise.allSettled(this.#inTheAir);
  }

  #start(name: string, start: (signal: AbortSignal) => Promise<Result>): Flight<Result> {
    const controller = new AbortController();
    const landing = start(controller.signal);
    const flight = { landing, controller, passengers: 0 };
    this.#joinable.set(name, flight);
    this.#inTheAir.add(landing);
    const land = () => {
      this.#close(name, flight);
      this.#inTheAir.delete(landing);
    };
    landing.then(land, land);
    return flight;
  }

  #close(name: string, flight: Flight<Result>): void {
    if (this.#joinable.get(name) === flight) this.#joinable.delete(name);
  }
}

/** As `orAborted`, for work that heeds the signal itself and may say more than that the time is over. */
export async function raceSignalWithGrace<Result>(work: Promise<Result>, signal: AbortSignal): Promise<Result> {
  try {
    return await raceSignal(work, signal);
  } catch (thrown) {
    if (signal.aborted && thrown === signal.reason) return settleOr(thrown, work);
    throw thrown;
  }
}

/** The work's own end if it ends at once; else this is thrown. */
function settleOr<Result>(thrown: unknown, work: Promise<Result>): Promise<Result> {
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
