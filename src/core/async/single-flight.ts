import { raceSignal, settleOr } from "./race-signal.ts";

interface Flight<Result> {
  readonly promise: Promise<Result>;
  readonly controller: AbortController;
  waiters: number;
}

/** Single-flight by name: concurrent callers share one run, which is aborted when its last caller stops waiting. */
export class SingleFlight<Result> {
  readonly #joinable = new Map<string, Flight<Result>>();
  readonly #pending = new Set<Promise<unknown>>();

  /** Rejects with the signal's reason as soon as it is aborted; other callers keep waiting. */
  async run(name: string, start: (signal: AbortSignal) => Promise<Result>, signal: AbortSignal): Promise<Result> {
    const flight = this.#joinable.get(name) ?? this.#start(name, start);
    flight.waiters += 1;
    try {
      return await raceSignal(flight.promise, signal);
    } catch (thrown) {
      if (flight.waiters > 1 || !signal.aborted || thrown !== signal.reason) throw thrown;
      this.#close(name, flight);
      flight.controller.abort(signal.reason);
      // A cancelled run may report more than a time-out.
      return await settleOr(thrown, flight.promise);
    } finally {
      flight.waiters -= 1;
    }
  }

  /** Resolves when no run is under way. */
  async drain(): Promise<void> {
    await Promise.allSettled(this.#pending);
  }

  #start(name: string, start: (signal: AbortSignal) => Promise<Result>): Flight<Result> {
    const controller = new AbortController();
    const promise = start(controller.signal);
    const flight = { promise, controller, waiters: 0 };
    this.#joinable.set(name, flight);
    this.#pending.add(promise);
    const settle = () => {
      this.#close(name, flight);
      this.#pending.delete(promise);
    };
    promise.then(settle, settle);
    return flight;
  }

  #close(name: string, flight: Flight<Result>): void {
    if (this.#joinable.get(name) === flight) this.#joinable.delete(name);
  }
}
