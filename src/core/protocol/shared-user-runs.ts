import { SingleFlight } from "../async/single-flight.ts";
import { isTimeout } from "../async/deadline.ts";
import type { UserId } from "../model/user-id.ts";
import { KeyctlError } from "../model/errors.ts";
import { printable } from "../text/printable.ts";
import { userFlag } from "../text/shell-quote.ts";

/** What is waited for once a key may exist: the answer to its POST, a look for a key that it may have made, the store. */
export type Stage = "answer" | "search" | "storage";

/** Told of the stage that is waited for when a caller's time is over, and of each that follows. */
export type OnOvertime = (user: UserId, stage: Stage) => void;

interface Committed<Result> {
  readonly promise: Promise<Result>;
  stage: Stage;
  isOverdue: boolean;
}

/**
 * Flights in which a key may be made. From its one POST on such a flight is not given up, whoever stops waiting: a
 * server's caller is told that it is pending, and the tool waits for its end, which the protocol's own limits bring.
 */
export class SharedUserRuns<Result> {
  readonly #flights = new SingleFlight<Result>();
  readonly #committed = new Map<string, Committed<Result>>();
  readonly #detaches: boolean;
  readonly #onOvertime: OnOvertime;

  constructor(detaches: boolean, onOvertime: OnOvertime) {
    this.#detaches = detaches;
    this.#onOvertime = onOvertime;
  }

  async run(
    user: UserId,
    kind: string,
    start: (onStage: (stage: Stage) => void, signal: AbortSignal) => Promise<Result>,
    signal: AbortSignal,
  ): Promise<Result> {
    const name = `${kind} ${user}`;
    try {
      return await this.#flights.run(name, (ofRun) => this.#start(user, name, start, ofRun), signal);
    } catch (thrown) {
      const committed = this.#committed.get(name);
      if (committed === undefined || !signal.aborted || thrown !== signal.reason) throw thrown;
      if (this.#detaches) throw provisionPending(user);
      if (!isTimeout(thrown)) return committed.promise;
      committed.isOverdue = true;
      this.#onOvertime(user, committed.stage);
      return this.#overdue(user, committed.promise);
    }
  }

  /** A race that was lost may leave no time to settle the winner's key. */
  async #overdue(user: UserId, promise: Promise<Result>): Promise<Result> {
    try {
      return await promise;
    } catch (thrown) {
      throw isTimeout(thrown) ? provisionPending(user) : thrown;
    }
  }

  /** Resolves when no run is under way. */
  async drain(): Promise<void> {
    await this.#flights.drain();
  }

  #start(
    user: UserId,
    name: string,
    start: (onStage: (stage: Stage) => void, signal: AbortSignal) => Promise<Result>,
    signal: AbortSignal,
  ): Promise<Result> {
    const enter = (stage: Stage) => {
      const known = this.#committed.get(name);
      if (known?.promise === promise) known.stage = stage;
      else this.#committed.set(name, { promise, stage, isOverdue: false });
      if (known?.promise === promise && known.isOverdue) this.#onOvertime(user, stage);
    };
    const promise = start(enter, signal);
    const forget = () => {
      if (this.#committed.get(name)?.promise === promise) this.#committed.delete(name);
    };
    promise.then(forget, forget);
    return promise;
  }
}

/** Somebody makes a key, and the caller has stopped waiting for it. */
export function provisionPending(user: UserId): KeyctlError {
  return new KeyctlError("PROVISION_PENDING", `a key for user ${printable(user)} is being made`, {
    hint: `keyctl get ${userFlag(user)}   waits for it`,
    retryable: true,
  });
}
