import type { KeyctlError } from "../../model/errors.ts";

/**
 * The refused keys that were not renewed a moment ago, and why. **Invariant:** calls that go on failing ask OpenRouter about a
 * key, and create keys, ever more rarely: after 30 s at first, then after twice as long each time, up to 10 min. A key that was found to work is asked
 * about again after 30 s: it may die at any time.
 */

const FIRST_MS = 30_000;
const LONGEST_MS = 600_000;
/** The oldest are forgotten beyond this number. */
const MOST = 10_000;

interface Wait {
  readonly error: KeyctlError | null;
  readonly waitMs: number;
  readonly until: number;
}

export class RenewalBackOff {
  readonly #waits = new Map<string, Wait>();
  readonly #now: () => number;

  /** @param now milliseconds of a monotonic clock */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** The answer of the last attempt, while no other one may be made. */
  known(name: string): Pick<Wait, "error"> | undefined {
    const wait = this.#waits.get(name);
    return wait !== undefined && this.#now() < wait.until ? wait : undefined;
  }

  /** @param error null: the key works */
  add(name: string, error: KeyctlError | null): void {
    const last = this.#waits.get(name);
    const now = this.#now();
    // Who waited for long enough begins anew.
    const isNew = last === undefined || now >= last.until + LONGEST_MS;
    const waitMs = isNew || error === null ? FIRST_MS : Math.min(LONGEST_MS, last.waitMs * 2);
    this.#waits.delete(name);
    this.#waits.set(name, { error, waitMs, until: now + waitMs });
    for (const oldest of this.#waits.keys()) {
      if (this.#waits.size <= MOST) break;
      this.#waits.delete(oldest);
    }
  }

  remove(name: string): void {
    this.#waits.delete(name);
  }
}
