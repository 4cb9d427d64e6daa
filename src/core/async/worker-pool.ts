/** Work that goes on at the same time, up to a limit; and somebody who waits for what comes of it. */
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

  /** Resolves at the next end of some work, or `wake`. */
  waitForChange(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
