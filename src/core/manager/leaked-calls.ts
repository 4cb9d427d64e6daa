import { containLeaked } from "../change/leaked/leaked-key.ts";
import { previewLeaked } from "../change/leaked/leaked-preview.ts";
import { toKeyctlError } from "../async/deadline.ts";
import { contextFor } from "./event-calls.ts";
import type { LeakedOptions, ManagerContext } from "./manager-options.ts";
import type { ApiKey } from "../model/api-key.ts";
import { KeyctlError } from "../model/errors.ts";
import { leakedFailed, notDisabled, parseLeaked } from "../model/leaked-results.ts";
import type { LeakedKey, LeakedResult } from "../model/leaked-results.ts";
import type { OpenWork } from "../open-work.ts";

/** The leaked keys of one manager. */
export class LeakedCalls {
  readonly #context: ManagerContext;
  readonly #work: OpenWork;

  constructor(context: ManagerContext, work: OpenWork) {
    this.#context = context;
    this.#work = work;
  }

  async contain(keyOrHash: string | ApiKey, options: LeakedOptions): Promise<LeakedResult> {
    let leak: LeakedKey | undefined;
    try {
      const given = parseLeaked(keyOrHash);
      leak = given;
      const { disableOnly = false, after } = options;
      const task = {
        since: this.#sinceOf(options),
        disableOnly,
        after: after?.keyHash === given.hash ? after : null,
      };
      const limits = { signal: options.signal, timeoutMs: options.timeoutMs ?? this.#context.makingTimeoutMs };
      const handle = options.dryRun === true ? previewLeaked : containLeaked;
      const context = contextFor(this.#context, options);
      return this.#work.withWarnings(
        await this.#work.track(limits, (signal) => this.#work.noted(() => handle(given, task, context, signal))),
      );
    } catch (thrown) {
      const error = toKeyctlError(thrown);
      const failure = leak === undefined || options.dryRun === true ? error : notDisabled(error, leak.hash);
      return this.#work.withWarnings(leakedFailed(leak?.hash ?? null, failure));
    }
  }

  #sinceOf({ since }: LeakedOptions): number | null {
    if (since === undefined) return null;
    const time = since.getTime();
    if (time <= this.#context.clock.now().getTime()) return time;
    throw new KeyctlError("USAGE", "since is a time in the past", {
      hint: "since: new Date(Date.now() - 7 * 86_400_000)",
    });
  }
}
