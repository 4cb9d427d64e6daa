import { isUnconfirmed } from "./decide-verdict.ts";
import type { RetryPause } from "../ports/openrouter.ts";
import type { Verdict } from "../model/verdict.ts";

const MASS_REFUSAL_LIMIT = { fewestRefused: 5, share: 1 / 2 } as const;
const UNANSWERED_LIMIT = 20;

/**
 * **Invariant:** an outage of the provider never marks keys invalid. Refusals that no second witness confirmed are held
 * until every key was checked. If at least 5 of the distinct keys, and more than half of them, were refused in this
 * way, all held keys are `unknown (mass_refusal)`. After 20 keys in a row without an answer, one key is checked alone.
 * If that key has no answer either, the provider is down and no more keys are checked.
 */
export class ProviderHealth {
  #asked = 0;
  #refused = 0;
  #unansweredInARow = 0;
  #isDown = false;
  /** By `performance.now()`: OpenRouter asked for no requests before this time. */
  #holdUntil = 0;

  get isDown(): boolean {
    return this.#isDown;
  }

  /** The next key must be checked alone, and `settleProbe` is called after it. */
  get needsProbe(): boolean {
    return this.#unansweredInARow >= UNANSWERED_LIMIT;
  }

  /** How long to send nothing, in milliseconds; not positive if requests are allowed. */
  get holdMs(): number {
    return this.#holdUntil - performance.now();
  }

  onPause({ isRateLimited, waitMs }: RetryPause): void {
    if (isRateLimited) this.#holdUntil = Math.max(this.#holdUntil, performance.now() + waitMs);
  }

  /** Called once for each distinct key. */
  observe(verdict: Verdict): void {
    this.#asked += 1;
    if (isUnconfirmed(verdict)) this.#refused += 1;
    const isUnanswered = verdict.status === "unknown" && verdict.isAboutProvider;
    this.#unansweredInARow = isUnanswered ? this.#unansweredInARow + 1 : 0;
  }

  /** Called when the check of the single key has ended. */
  settleProbe(): void {
    this.#isDown = this.#unansweredInARow > UNANSWERED_LIMIT;
  }

  /** The final verdict of a held refusal, once every key was checked. */
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
