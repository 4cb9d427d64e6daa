import { printable } from "../../core/text/printable.ts";

const GAP = 2;
const NARROWEST = 8;
/** Characters of one column each: ASCII and keyctl's own signs. */
const NARROW = /^[\x20-\x7E✓✗…]*$/;
/** The last column may hold a sentence that wraps; it takes no more than this from the other columns. */
const WIDEST_LAST = 24;

/** A column: its title, and whether it is truncated on a narrow terminal. */
export interface Column {
  readonly title: string;
  readonly shrinks?: boolean;
}

/** The width of a text in terminal columns. */
export type Measure = (text: string) => number;

/** One character, one column: right for narrow text. */
export const measureNarrow: Measure = (text) => text.length;

export function isNarrow(cells: readonly string[]): boolean {
  return cells.every((cell) => NARROW.test(cell));
}

/**
 * Rows as text: aligned for a terminal of this width, tab-separated and untruncated otherwise. The first rows decide the
 * widths, so any number of rows can follow.
 */
export class Table {
  readonly #columns: readonly Column[];
  readonly #widths: readonly number[] | undefined;

  constructor(
    columns: readonly Column[],
    firstRows: readonly (readonly string[])[],
    terminalWidth: number | undefined,
    measure: Measure,
  ) {
    this.#columns = columns;
    this.#widths = terminalWidth === undefined ? undefined : fitted(columns, firstRows, terminalWidth, measure);
  }

  /** The titles; undefined without a terminal, where every line is a row. */
  get header(): string | undefined {
    if (this.#widths === undefined) return undefined;
    return this.row(
      this.#columns.map(({ title }) => title),
      measureNarrow,
    );
  }

  row(cells: readonly string[], measure: Measure): string {
    const shown = cells.map(printable);
    const widths = this.#widths;
    if (widths === undefined) return shown.join("\t");
    return shown
      .map((cell, index) => pad(cell, widths[index] ?? 0, measure))
      .join(" ".repeat(GAP))
      .trimEnd();
  }
}

function fitted(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  terminalWidth: number,
  measure: Measure,
): readonly number[] {
  const widths = columns.map(({ title }, index) =>
    Math.max(title.length, ...rows.map((row) => measure(printable(row[index] ?? "")))),
  );
  const last = widths.length - 1;
  const wanted = widths.map((width, index) => (index === last ? Math.min(width, WIDEST_LAST) : width));
  const excess = wanted.reduce((sum, width) => sum + width + GAP, -GAP) - terminalWidth;
  return wanted.map((width, index) => {
    if (index === last) return Number.POSITIVE_INFINITY;
    return excess > 0 && columns[index]?.shrinks === true ? Math.max(NARROWEST, width - excess) : width;
  });
}

function pad(cell: string, width: number, measure: Measure): string {
  const fits = measure(cell) <= width ? cell : `${cut(cell, width - 1, measure)}…`;
  if (width === Number.POSITIVE_INFINITY) return fits;
  const taken = fits === cell ? measure(cell) : measure(fits.slice(0, -1)) + 1;
  return fits + " ".repeat(Math.max(0, width - taken));
}

function cut(text: string, width: number, measure: Measure): string {
  let kept = "";
  for (const character of text) {
    if (measure(kept + character) > width) break;
    kept += character;
  }
  return kept;
}
