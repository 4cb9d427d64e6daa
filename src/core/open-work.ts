import { deadlineSignal, toKeyctlError } from "./async/deadline.ts";
import type { CallOptions } from "./async/deadline.ts";
import type { Context } from "./context.ts";
import { KeyctlError } from "./model/errors.ts";
import { parseUserId } from "./model/user-id.ts";
import type { UserId } from "./model/user-id.ts";
import type { Warning } from "./model/warning.ts";
import type { AccountOnUse } from "./ports/account.ts";

interface Warned {
  readonly warnings: readonly Warning[];
}

/** The calls of one manager: the time of each, which of them are under way, and the end of all. */
export class OpenWork {
  readonly #timeoutMs: number;
  readonly #account: AccountOnUse;
  readonly #pending = new Set<Promise<unknown>>();
  #closed: Promise<void> | undefined;

  constructor({ timeoutMs, account }: Pick<Context, "timeoutMs" | "account">) {
    this.#timeoutMs = timeoutMs;
    this.#account = account;
  }

  /**
   * A call for one user, under way from this moment: what it needs is loaded within `work`, so that `close` waits for that
   * too. Every expected failure becomes the result that `failed` gives; rejects only for a bug.
   */
  async run<Result extends Warned>(
    userId: string,
    options: CallOptions,
    failed: (userId: string, error: KeyctlError) => Result | Promise<Result>,
    work: (user: UserId, signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    try {
      return this.withWarnings(await this.track(options, async (signal) => work(parseUserId(userId), signal)));
    } catch (thrown) {
      return this.withWarnings(await failed(userId, toKeyctlError(thrown)));
    }
  }

  /** A call that `close` waits for. Rejects with a KeyctlError, or for a bug. */
  async track<Result>(options: CallOptions, work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
    this.#refuseClosed();
    const signal = deadlineSignal(options, this.#timeoutMs);
    const pending = work(signal);
    this.#pending.add(pending);
    try {
      return await pending;
    } catch (thrown) {
      throw toKeyctlError(thrown, signal);
    } finally {
      this.#pending.delete(pending);
    }
  }

  /** What is known of the management key's account is told once, with the first result after that. */
  withWarnings<Result extends Warned>(result: Result): Result {
    const warnings = this.#account.takeWarnings();
    return warnings.length === 0 ? result : { ...result, warnings: [...result.warnings, ...warnings] };
  }

  /** A signal for each step of a call that `close` does not wait for. Throws USAGE for a step after it. */
  newSignal(options: CallOptions): () => AbortSignal {
    return () => {
      this.#refuseClosed();
      return deadlineSignal(options, this.#timeoutMs);
    };
  }

  /** Refuses new calls, waits for those that are under way, and then for `release`; all that only once. */
  async close(release: () => Promise<void>): Promise<void> {
    this.#closed ??= Promise.allSettled(this.#pending).then(release);
    return this.#closed;
  }

  #refuseClosed(): void {
    if (this.#closed !== undefined)
      throw new KeyctlError("USAGE", "this key manager is closed", { hint: "open a new one" });
  }
}
