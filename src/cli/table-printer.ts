import { Table } from "./table.ts";
import type { Column } from "./table.ts";
import type { Terminal } from "./terminal.ts";

const ROWS_FOR_WIDTHS = 200;

/** Prints a table of any length: on a terminal the first rows wait until the widths are known. */
export class TablePrinter {
  readonly #terminal: Terminal;
  readonly #columns: readonly Column[];
  #table: Table | undefined;
  #first: (readonly string[])[] = [];

  constructor(terminal: Terminal, columns: readonly Column[]) {
    this.#terminal = terminal;
    this.#columns = columns;
  }

  async print(rows: readonly (readonly string[])[]): Promise<void> {
    const table = this.#table;
    if (table !== undefined) return this.#write(rows.map((row) => table.row(row)));
    this.#first.push(...rows);
    if (this.#terminal.columns === undefined || this.#first.length >= ROWS_FOR_WIDTHS) await this.end();
  }

  /** Prints what has waited. */
  async end(): Promise<void> {
    if (this.#table !== undefined || this.#first.length === 0) return;
    const table = new Table(this.#columns, this.#first, this.#terminal.columns);
    this.#table = table;
    const rows = this.#first.map((row) => table.row(row));
    this.#first = [];
    await this.#write(table.header === undefined ? rows : [this.#terminal.paint.dim(table.header), ...rows]);
  }

  async #write(lines: readonly string[]): Promise<void> {
    if (lines.length > 0) await this.#terminal.result(lines.join("\n"));
  }
}
