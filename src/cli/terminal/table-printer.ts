import { isNarrow, measureNarrow, Table } from "./table.ts";
import type { Column, Measure } from "./table.ts";
import type { Terminal } from "./terminal.ts";

const ROWS_FOR_WIDTHS = 200;

/** Prints a table of any length: on a terminal the first rows wait until the widths are known. */
export class TablePrinter {
  readonly #terminal: Terminal;
  readonly #columns: readonly Column[];
  #table: Table | undefined;
  #first: (readonly string[])[] = [];
  #measure: Measure = measureNarrow;

  constructor(terminal: Terminal, columns: readonly Column[]) {
    this.#terminal = terminal;
    this.#columns = columns;
  }

  async print(rows: readonly (readonly string[])[]): Promise<void> {
    if (this.#table !== undefined) return this.#write(this.#table, rows);
    this.#first.push(...rows);
    if (this.#terminal.columns === undefined || this.#first.length >= ROWS_FOR_WIDTHS) await this.end();
  }

  /** Prints the rows that have waited. */
  async end(): Promise<void> {
    const rows = this.#first;
    if (this.#table !== undefined || rows.length === 0) return;
    await this.#learnWidths(rows);
    this.#table = new Table(this.#columns, rows, this.#terminal.columns, this.#measure);
    this.#first = [];
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
