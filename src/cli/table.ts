import stringWidth from "string-width";
import { printable } from "../core/printable.ts";

const GAP = 2;
const NARROWEST = 8;
/** Nothing stands behind the last column: a sentence in it may wrap, and takes no more than this from the others. */
const WIDEST_LAST = 24;

/** A column: its title, and whether it gives way when the terminal is narrow. */
export interface Column {
  readonly title: string;
  readonly shrinks?: boolean;
}

/**
 * Rows as text: aligned for a terminal of this width, tab-separated and untruncated off one.
 * Widths come from the first rows, so that any number of rows can follow.
 */
export class Table {
  readonly #columns: readonly Column[];
  readonly #widths: readonly number[] | undefined;

  constructor(
    columns: readonly Column[],
    firstRows: readonly (readonly string[])[],
    terminalWidth: number | undefined,
  ) {
    this.#columns = columns;
    this.#widths = terminalWidth === undefined ? undefined : fitted(columns, firstRows, terminalWidth);
  }

  /** The titles; undefined off a terminal, where every line is a row. */
  get header(): string | undefined {
    return this.#widths === undefined ? undefined : this.row(this.#columns.map(({ title }) => title));
  }

  row(cells: readonly string[]): string {
    const shown = cells.map(printable);
    const widths = this.#widths;
    if (widths === undefined) return shown.join("\t");
    return shown
      .map((cell, index) => pad(cell, widths[index] ?? 0))
      .join(" ".repeat(GAP))
      .trimEnd();
  }
}

function fitted(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  terminalWidth: number,
): readonly number[] {
  const widths = columns.map(({ title }, index) =>
    Math.max(title.length, ...rows.map((row) => stringWidth(printable(row[index] ?? "")))),
  );
  const last = widths.length - 1;
  const wanted = widths.map((width, index) => (index === last ? Math.min(width, WIDEST_LAST) : width));
  const excess = wanted.reduce((sum, width) => sum + width + GAP, -GAP) - terminalWidth;
  return wanted.map((width, index) => {
    if (index === last) return Number.POSITIVE_INFINITY;
    return excess > 0 && columns[index]?.shrinks === true ? Math.max(NARROWEST, width - excess) : width;
  });
}

function pad(cell: string, width: number): string {
  const fits = stringWidth(cell) <= width ? cell : `${cut(cell, width - 1)}…`;
  return width === Number.POSITIVE_INFINITY ? fits : fits + " ".repeat(Math.max(0, width - stringWidth(fits)));
}

function cut(text: string, width: number): string {
  let kept = "";
  for (const character of text) {
    if (stringWidth(kept + character) > width) break;
    kept += character;
  }
  return kept;
}
