import { SingleFlight } from "../async/single-flight.ts";
import { isTimeout } from "../async/deadline.ts";
import type { UserId } from "../model/user-id.ts";
import { KeyctlError } from "../model/errors.ts";
import { printable } from "../text/printable.ts";
import { userFlag } from "../text/shell-quote.ts";

/** What a run waits for once a key may exist: the answer to its POST, the search for a key that the POST may have created, the store. */
export type Stage = "answer" | "search" | "storage";

/** Receives the stage that a run waits for when a caller's time is over, and each later one. */
export type OnOvertime = (user: UserId, stage: Stage) => void;

interface Committed<Result> {
  readonly promise: Promise<Result>;
  stage: Stage;
  isOverdue: boolean;
}

/**
 * Runs that may create a key. From its one POST on, a run is not cancelled when its callers stop waiting: a server's caller
 * is told that the key is pending, and the tool waits for the end of the run, which the protocol's own limits ensure.
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

  /** A lost race may leave no time to settle the winner's key. */
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

/** A key is being created, and the caller has stopped waiting for it. */
export function provisionPending(user: UserId): KeyctlError {
  return new KeyctlError("PROVISION_PENDING", `a key for user ${printable(user)} is being created`, {
    hint: `keyctl get ${userFlag(user)}   waits for it`,
    retryable: true,
  });
}
