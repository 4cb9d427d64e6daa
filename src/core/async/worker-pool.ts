/** Concurrent work, up to a limit, with one waiter for its results. */
export class WorkerPool {
  readonly #size: number;
  #active = 0;
  #waiting: (() => void)[] = [];

  constructor(size: number) {
    this.#size = size;
  }

  get isFull(): boolean {
    return this.#active >= this.#size;
  }

  get isIdle(): boolean {
    return this.#active === 0;
  }

  /** `work` must not reject. */
  start(work: () => Promise<void>): void {
    this.#active += 1;
    void work().finally(() => {
      this.#active -= 1;
      this.wake();
    });
  }

  /** Resolves when the next piece of work ends, or on `wake`. */
  waitForChange(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
