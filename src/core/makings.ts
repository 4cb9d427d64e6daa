import { Flights } from "./flights.ts";
import { provisionPending } from "./pending.ts";
import type { UserId } from "./user-id.ts";

/**
 * Flights in which a key may be made. From its one POST on such a flight is not given up, whoever stops waiting: a
 * server's caller is told that it is pending, and the tool waits for its end.
 */
export class Makings<Result> {
  readonly #flights = new Flights<Result>();
  readonly #committed = new Map<string, Promise<Result>>();
  readonly #detaches: boolean;

  constructor(detaches: boolean) {
    this.#detaches = detaches;
  }

  async join(
    user: UserId,
    kind: string,
    start: (onCommitted: () => void, signal: AbortSignal) => Promise<Result>,
    patience: AbortSignal,
  ): Promise<Result> {
    const name = `${kind} ${user}`;
    try {
      return await this.#flights.join(name, (signal) => this.#depart(name, start, signal), patience);
    } catch (thrown) {
      const making = this.#committed.get(name);
      if (making === undefined || !patience.aborted || thrown !== patience.reason) throw thrown;
      if (this.#detaches) throw provisionPending(user);
      return making;
    }
  }

  /** Resolves when nothing is in the air. */
  async landed(): Promise<void> {
    await this.#flights.landed();
  }

  #depart(
    name: string,
    start: (onCommitted: () => void, signal: AbortSignal) => Promise<Result>,
    signal: AbortSignal,
  ): Promise<Result> {
    const landing = start(() => this.#committed.set(name, landing), signal);
    const forget = () => {
      if (this.#committed.get(name) === landing) this.#committed.delete(name);
    };
    landing.then(forget, forget);
    return landing;
  }
}
