import { isTimeout } from "../async/deadline.ts";
import { raceSignal } from "../async/race-signal.ts";
import { KeyctlError } from "../model/errors.ts";
import { checkedNumber } from "../model/number-options.ts";

type CreatingVerb = "create" | "rotate" | "renew";

const NOT_DONE: Readonly<Record<CreatingVerb, string>> = {
  create: "no key was created",
  rotate: "the key was not rotated",
  renew: "the key is dead and was not renewed",
};

/**
 * The number of keys that a run may create. A slot is taken before each creation and returned if no key was created.
 */
export class KeyBudget {
  readonly #max: number;
  readonly #verb: CreatingVerb;
  #taken = 0;
  #open = 0;
  #waiting: (() => void)[] = [];

  /** @param max the number of keys; `Infinity` for any number */
  constructor(max: number, verb: CreatingVerb = "create") {
    this.#max = max;
    this.#verb = verb;
  }

  /** Whether a slot may still be returned. */
  get mayGrow(): boolean {
    return this.#open > 0;
  }

  take(): boolean {
    if (this.#taken >= this.#max) return false;
    this.#taken += 1;
    this.#open += 1;
    return true;
  }

  /** As `take`, after the slots that may be returned. Throws `usedUp`. */
  async takeOrWait(signal: AbortSignal): Promise<void> {
    while (!this.take()) {
      if (!this.mayGrow) throw this.usedUp();
      try {
        await raceSignal(new Promise<void>((resolve) => this.#waiting.push(resolve)), signal);
      } catch (thrown) {
        throw isTimeout(thrown) ? this.usedUp() : thrown;
      }
    }
  }

  settle(mayHaveCreated: boolean): void {
    this.#open -= 1;
    if (!mayHaveCreated) this.#taken -= 1;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  /** The error of a user who is left without a key. */
  usedUp(): KeyctlError {
    const nothing = NOT_DONE[this.#verb];
    return new KeyctlError("PROVISION_CAP", `${nothing}: this run may ${this.#verb} no more than ${this.#max}`, {
      hint: "run it again for those who are left",
      retryable: true,
    });
  }
}

/** @param maxKeys undefined: any number of keys. Throws USAGE. */
export function budgetFor(maxKeys: number | undefined, verb?: CreatingVerb): KeyBudget {
  if (maxKeys === undefined) return new KeyBudget(Number.POSITIVE_INFINITY, verb);
  return new KeyBudget(checkedNumber("maxKeys", maxKeys, { from: 0, to: Number.MAX_SAFE_INTEGER, whole: true }), verb);
}

/** One slot of a budget, taken when a key is about to be created; null: no budget. */
export class BudgetSlot {
  readonly #budget: KeyBudget | null;
  #isTaken = false;

  constructor(budget: KeyBudget | null) {
    this.#budget = budget;
  }

  /** Throws PROVISION_CAP. */
  async take(signal: AbortSignal): Promise<void> {
    if (this.#budget === null || this.#isTaken) return;
    await this.#budget.takeOrWait(signal);
    this.#isTaken = true;
  }

  settle(mayBeThere: boolean): void {
    if (this.#isTaken) this.#budget?.settle(mayBeThere);
    this.#isTaken = false;
  }
}
