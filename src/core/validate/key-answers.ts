import type { ApiKey } from "../model/api-key.ts";
import { deadlineIn } from "../async/deadline.ts";
import { WorkerPool } from "../async/worker-pool.ts";
import type { Context } from "../context.ts";
import { decideVerdict } from "./decide-verdict.ts";
import type { VerdictSources } from "./decide-verdict.ts";
import type { Timestamp } from "../model/key-record.ts";
import type { Verdict } from "../model/verdict.ts";
import { ProviderHealth } from "./provider-health.ts";
import { verdictSources } from "./validate-key.ts";
import { sleep } from "../async/sleep.ts";

/** Undefined if the run ended first. */
type Answer = { readonly verdict: Verdict; readonly at: Timestamp } | undefined;

export interface AskingOptions {
  readonly concurrency: number;
  /** The time limit for each key, in milliseconds. */
  readonly timeoutMs: number;
  /** Cancels the requests in flight. */
  readonly signal: AbortSignal;
  /** Whether the run is over: a request that OpenRouter has not answered then has no result. */
  readonly isOver: () => boolean;
  /** Receives a failure that concerns all keys. */
  readonly onFailure: (thrown: unknown) => void;
}

const RECHECK_MS = 50;

/** **Invariant:** each distinct key is checked once, however many users have it. */
export class KeyAnswers {
  readonly health = new ProviderHealth();
  readonly #context: Context;
  readonly #options: AskingOptions;
  readonly #pool: WorkerPool;
  readonly #answers = new Map<string, Promise<Answer>>();
  /** One controller per request: Node reports hundreds of listeners on one signal as a leak. */
  readonly #underWay = new Set<AbortController>();
  #sources: Promise<VerdictSources> | undefined;

  constructor(context: Context, options: AskingOptions) {
    const { concurrency, signal } = options;
    this.#context = context;
    this.#options = options;
    this.#pool = new WorkerPool(concurrency);
    signal.addEventListener("abort", () => {
      for (const controller of this.#underWay) controller.abort(signal.reason);
    });
  }

  /** How many distinct keys were checked. */
  get count(): number {
    return this.#answers.size;
  }

  sources(): Promise<VerdictSources> {
    return (this.#sources ??= verdictSources(this.#context));
  }

  /** Never rejects. Undefined for a key that was not passed to `ask`. */
  of(hash: string): Promise<Answer> | undefined {
    return this.#answers.get(hash);
  }

  /** Checks a key that was not checked yet. */
  ask(key: ApiKey, createdAtMs: number | undefined): void {
    const answer = new Promise<Answer>((resolve) => {
      this.#pool.start(async () => {
        try {
          resolve(await this.#answer(key, createdAtMs));
        } catch (thrown) {
          this.#options.onFailure(thrown);
          resolve(undefined);
        }
      });
    });
    this.#answers.set(key.hash, answer);
  }

  /** True if another key may be checked now; else waits until that may have changed. A probe runs alone. */
  async isReady(): Promise<boolean> {
    const { needsProbe, holdMs } = this.health;
    if (needsProbe ? !this.#pool.isIdle : this.#pool.isFull) await this.#pool.waitForChange();
    else if (holdMs > 0) await sleep(Math.min(holdMs, RECHECK_MS));
    else return true;
    return false;
  }

  /** Wakes the caller that waits in `isReady`. */
  wake(): void {
    this.#pool.wake();
  }

  async #answer(key: ApiKey, createdAtMs: number | undefined): Promise<Answer> {
    const sources = await this.sources();
    const { signal, timeoutMs, isOver } = this.#options;
    signal.throwIfAborted();
    const controller = new AbortController();
    this.#underWay.add(controller);
    try {
      const verdict = await decideVerdict(key, sources, deadlineIn(timeoutMs, controller.signal), createdAtMs);
      if (verdict.status === "unknown" && isOver()) return undefined;
      this.health.observe(verdict);
      return { verdict, at: this.#context.clock.now().toISOString() };
    } finally {
      this.#underWay.delete(controller);
    }
  }
}
