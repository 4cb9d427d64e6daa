import { isNarrow, measureNarrow, Table } from "./table.ts";
import type { Column, Measure } from "./table.ts";
import type { Terminal } from "./terminal.ts";

const ROWS_FOR_WIDTHS = 200;
/** The longest wait of a row for those that would decide the widths with it. */
const WAIT_MS = 1_000;

/**
 * Prints a table of any length. On a terminal the first rows wait for each other, up to a second, because they decide the
 * widths; all later rows are printed as they come.
 */
export class TablePrinter {
  readonly #terminal: Terminal;
  readonly #columns: readonly Column[];
  #table: Table | undefined;
  #first: (readonly string[])[] = [];
  #measure: Measure = measureNarrow;
  #timer: NodeJS.Timeout | undefined;
  /** The rows that the timer prints; it rejects with OUTPUT_FAILED. */
  #begun: Promise<void> = Promise.resolve();

  constructor(terminal: Terminal, columns: readonly Column[]) {
    this.#terminal = terminal;
    this.#columns = columns;
  }

  async print(rows: readonly (readonly string[])[]): Promise<void> {
    await this.#begun;
    if (this.#table !== undefined) return this.#write(this.#table, rows);
    this.#first.push(...rows);
    if (this.#terminal.columns === undefined || this.#first.length >= ROWS_FOR_WIDTHS) return this.#begin(false);
    if (this.#first.length > 0) this.#timer ??= setTimeout(() => this.#beginLater(), WAIT_MS).unref();
  }

  /** Prints the rows that have waited. */
  async end(): Promise<void> {
    await this.#begun;
    if (this.#table === undefined) await this.#begin(true);
  }

  #beginLater(): void {
    this.#begun = this.#begin(false);
    // The next call reports a failure.
    this.#begun.catch(() => {});
  }

  async #begin(areAll: boolean): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const rows = this.#first;
    if (rows.length === 0) return;
    this.#first = [];
    await this.#learnWidths(rows);
    this.#table = new Table(this.#columns, { rows, areAll }, this.#terminal.columns, this.#measure);
    const { header } = this.#table;
    if (header !== undefined) await this.#terminal.result(this.#terminal.paint.dim(header));
    await this.#write(this.#table, rows);
  }

  async #write(table: Table, rows: readonly (readonly string[])[]): Promise<void> {
    if (rows.length === 0) return;
    await this.#learnWidths(rows);
    await this.#terminal.result(rows.map((row) => table.row(row, this.#measure)).join("\n"));
  }

  /** string-width costs three times Node's start-up time, so it is loaded only for text that needs it, on a terminal. */
  async #learnWidths(rows: readonly (readonly string[])[]): Promise<void> {
    if (this.#measure !== measureNarrow || this.#terminal.columns === undefined || rows.every(isNarrow)) return;
    this.#measure = (await import("./string-width.ts")).stringWidth;
  }
}
