import { KeyctlError } from "../model/errors.ts";

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

  settle(mayHaveCreated: boolean): void {
    this.#open -= 1;
    if (!mayHaveCreated) this.#taken -= 1;
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
