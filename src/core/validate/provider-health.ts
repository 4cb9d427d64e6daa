import { isUnconfirmed } from "./decide-verdict.ts";
import type { RetryPause } from "../ports/openrouter.ts";
import type { Verdict } from "../model/verdict.ts";

const MASS_REFUSAL_LIMIT = { fewestRefused: 5, share: 1 / 2 } as const;
const UNANSWERED_LIMIT = 20;

/**
 * **Invariant:** an outage of the provider never marks keys invalid. Refusals that no second witness has confirmed are held
 * until every key was asked; if they are at least 5, and more than half of the distinct keys that were asked, all of them are
 * `unknown (mass_refusal)`. After 20 keys in a row without an answer, one key is asked alone: without an answer for that
 * one either, the provider is down, and asking ends.
 */
export class ProviderHealth {
  #asked = 0;
  #refused = 0;
  #unansweredInARow = 0;
  #isDown = false;
  /** By `performance.now()`: OpenRouter has asked us to send nothing before. */
  #holdUntil = 0;

  get isDown(): boolean {
    return this.#isDown;
  }

  /** The next key is asked alone, and `settleProbe` is told of its answer. */
  get needsProbe(): boolean {
    return this.#unansweredInARow >= UNANSWERED_LIMIT;
  }

  /** How long nothing is to be sent, in milliseconds. */
  get holdMs(): number {
    return this.#holdUntil - performance.now();
  }

  onPause({ isRateLimited, waitMs }: RetryPause): void {
    if (isRateLimited) this.#holdUntil = Math.max(this.#holdUntil, performance.now() + waitMs);
  }

  /** Once for each distinct key. */
  observe(verdict: Verdict): void {
    this.#asked += 1;
    if (isUnconfirmed(verdict)) this.#refused += 1;
    const isUnanswered = verdict.status === "unknown" && verdict.isAboutProvider;
    this.#unansweredInARow = isUnanswered ? this.#unansweredInARow + 1 : 0;
  }

  /** The key that was asked alone has its answer. */
  settleProbe(): void {
    this.#isDown = this.#unansweredInARow > UNANSWERED_LIMIT;
  }

  /** The verdict of a refusal that was held, once every key was asked. */
  verdictOfHeld(verdict: Verdict): Verdict {
    const { fewestRefused, share } = MASS_REFUSAL_LIMIT;
    return this.#refused >= fewestRefused && this.#refused > this.#asked * share ? MASS_REFUSAL : verdict;
  }
}

const MASS_REFUSAL: Verdict = {
  status: "unknown",
  reason: "mass_refusal",
  witness: null,
  detail: "OpenRouter refused more than half of the keys, which points to an outage rather than to the keys",
  isAboutProvider: true,
  remedy: undefined,
};
