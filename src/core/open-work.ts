import { stepSignals, timeLimit, toKeyctlError } from "./async/deadline.ts";
import type { CallOptions } from "./async/deadline.ts";
import type { Context } from "./context.ts";
import { KeyctlError } from "./model/errors.ts";
import { parseUserId, userIdText } from "./model/user-id.ts";
import type { UserId } from "./model/user-id.ts";
import type { Warning } from "./model/warning.ts";
import type { AccountOnUse } from "./ports/account.ts";
import type { HistoryOnUse } from "./ports/history.ts";

interface Warned {
  readonly warnings: readonly Warning[];
}

/** The calls of one manager: their time limits, those in flight, and the end of all. */
export class OpenWork {
  readonly #timeoutMs: number;
  readonly #account: AccountOnUse;
  readonly #history: HistoryOnUse;
  readonly #pending = new Set<Promise<unknown>>();
  readonly #drains: (() => Promise<void>)[] = [];
  #closed: Promise<void> | undefined;
  #isBeginning = false;

  constructor({
    timeoutMs,
    account,
    history,
  }: Pick<Context, "timeoutMs" | "account"> & { readonly history: HistoryOnUse }) {
    this.#timeoutMs = timeoutMs;
    this.#account = account;
    this.#history = history;
  }

  /**
   * Runs a call for one user. It is in flight at once, and `work` loads its modules itself, so `close` waits for those
   * as well. An expected failure becomes the result of `failed`. Rejects only for a bug.
   */
  async run<Result extends Warned>(
    userId: string,
    options: CallOptions,
    failed: (userId: string, error: KeyctlError) => Result | Promise<Result>,
    work: (user: UserId, signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    try {
      return this.withWarnings(
        await this.track(options, (signal) => this.noted(async () => work(parseUserId(userId), signal))),
      );
    } catch (thrown) {
      return this.withWarnings(await failed(userIdText(userId), toKeyctlError(thrown)));
    }
  }

  /** Runs a call that `close` waits for. Rejects with a KeyctlError, or for a bug. */
  async track<Result>(options: CallOptions, work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
    this.#refuseClosed();
    const { signal, clear } = timeLimit(options, this.#timeoutMs);
    const pending = work(signal);
    this.#pending.add(pending);
    try {
      return await pending;
    } catch (thrown) {
      throw toKeyctlError(thrown, signal);
    } finally {
      clear();
      this.#pending.delete(pending);
    }
  }

  /**
   * Runs a call of a class whose module is loaded on use. The call is in flight at once, so a `close` in between does not
   * refuse it. `close` waits for what the call itself has in flight.
   */
  async loaded<Calls, Result>(load: () => Promise<Calls>, call: (calls: Calls) => Promise<Result>): Promise<Result> {
    if (this.#closed !== undefined) return call(await load());
    const pending = load().then((calls) => ({ result: this.#begun(() => call(calls)) }));
    this.#pending.add(pending);
    const { result } = await pending.finally(() => this.#pending.delete(pending));
    return result;
  }

  /** Writes the notes of this work after its last step, whether it fails or not. */
  async noted<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } finally {
      await this.#history.write();
    }
  }

  /** As `noted`, for a run over many users: before each of its results. */
  async *notedEach<Result>(results: AsyncIterable<Result>): AsyncGenerator<Result> {
    try {
      for await (const result of results) {
        await this.#history.write();
        yield result;
      }
    } finally {
      await this.#history.write();
    }
  }

  /** As `notedEach`, for batches of results, of which one gets the warnings that were not reported yet. */
  async *resultsOf<Result extends Warned>(
    batches: AsyncIterable<readonly Result[]>,
  ): AsyncGenerator<readonly Result[]> {
    for await (const [first, ...others] of this.notedEach(batches)) {
      yield first === undefined ? [] : [this.withWarnings(first), ...others];
    }
  }

  /** Warnings about the management key's account, and of lost notes, are reported once, with the next result. */
  withWarnings<Result extends Warned>(result: Result): Result {
    const warnings = this.takeWarnings();
    return warnings.length === 0 ? result : { ...result, warnings: [...result.warnings, ...warnings] };
  }

  /** Warnings that were not reported yet. */
  takeWarnings(): readonly Warning[] {
    return [...this.#account.takeWarnings(), ...this.#history.takeWarnings()];
  }

  /** A signal for each step of a call that `close` does not wait for. Throws USAGE for a step after `close`. */
  newSignal(options: CallOptions): () => AbortSignal {
    const next = stepSignals(options, this.#timeoutMs);
    return () => {
      this.#refuseClosed();
      return next();
    };
  }

  /** @param drain resolves when no run is in flight whose callers stopped waiting; `close` waits for it */
  waitAtClose(drain: () => Promise<void>): void {
    this.#drains.push(drain);
  }

  /** Refuses new calls, waits for those in flight, writes what they noted, and then closes these. Happens only once. */
  async close({ openRouter, store }: Pick<Context, "openRouter" | "store">): Promise<void> {
    this.#closed ??= this.#idle()
      .then(() => Promise.all(this.#drains.map((drain) => drain())))
      .then(() => this.#history.write())
      .then(() => this.#history.flush())
      .then(() => openRouter.close())
      .then(() => store.close());
    return this.#closed;
  }

  /** A call that is in flight may begin another one. */
  async #idle(): Promise<void> {
    while (this.#pending.size > 0) await Promise.allSettled(this.#pending);
  }

  /** Begins a call that was in flight before its module was there. */
  #begun<Result>(begin: () => Promise<Result>): Promise<Result> {
    this.#isBeginning = true;
    try {
      return begin();
    } finally {
      this.#isBeginning = false;
    }
  }

  #refuseClosed(): void {
    if (this.#closed !== undefined && !this.#isBeginning)
      throw new KeyctlError("USAGE", "this key manager is closed", { hint: "open a new one" });
  }
}
