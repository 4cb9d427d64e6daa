import type { Output } from "./fd-output.ts";

/** Returns to the beginning of the line and erases it. */
const ERASE = "\r\u001B[2K";

/**
 * The last line of a terminal, which shows what the run is doing.
 * **Invariant:** other output is written above it, and it is gone when the run ends.
 */
export class StatusLine {
  readonly #stderr: Output;
  #text = "";
  /** Questions and typed input that have the terminal for themselves. */
  #holders = 0;

  constructor(stderr: Output) {
    this.#stderr = stderr;
  }

  /** Replaces the line; nothing is shown for an empty text. */
  show(text: string): void {
    const { columns } = this.#stderr;
    if (columns === undefined || this.#holders > 0) return;
    // A line that fills the terminal would wrap, and then it could not be erased.
    const next = text.slice(0, columns - 1);
    if (next === this.#text) return;
    this.#write((this.#text === "" ? "" : ERASE) + next);
    this.#text = next;
  }

  /** Other text for this terminal, with what keeps the line below it. */
  above(text: string): string {
    return this.#text === "" ? text : `${ERASE}${text}${this.#text}`;
  }

  /** Makes way for output that is written elsewhere; the result brings the line back. */
  makeWay(): () => void {
    if (this.#text === "") return () => {};
    this.#write(ERASE);
    return () => this.#write(this.#text);
  }

  /** Shows no line until the result is called. */
  hold(): () => void {
    this.show("");
    this.#holders += 1;
    return () => {
      this.#holders -= 1;
    };
  }

  /** A failed write is ignored: a closed stderr must not stop the work. */
  #write(text: string): void {
    this.#stderr.write(text).catch(() => {});
  }
}
