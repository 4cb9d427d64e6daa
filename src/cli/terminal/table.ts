import { printable } from "../../core/text/printable.ts";

const GAP = 2;
const NARROWEST = 8;
/** Characters of one column each: ASCII and keyctl's own signs. */
const NARROW = /^[\x20-\x7E✓✗…]*$/;
/** The last column may hold a sentence that wraps; it takes no more than this from the other columns. */
const WIDEST_LAST = 24;

/** What a column that shrinks keeps before another one is left out for it. */
const ROOMY = 12;

/** A cell without a value. */
const EMPTY = "-";

/** A column: its title, and what becomes of it when the terminal is narrow. */
export interface Column {
  readonly title: string;
  /** Its cells are cut. */
  readonly shrinks?: boolean;
  /** It is left out; and so it is where the first rows have nothing in it, which is shown as `-`. */
  readonly isOptional?: boolean;
  /** The width of its usual cells: at least this wide where rows are printed before the others are known. */
  readonly usual?: number;
}

/** The width of a text in terminal columns. */
export type Measure = (text: string) => number;

/** One character, one column: right for narrow text. */
export const measureNarrow: Measure = (text) => text.length;

export function isNarrow(cells: readonly string[]): boolean {
  return cells.every((cell) => NARROW.test(cell));
}

/** The rows that decide about the columns. */
export interface FirstRows {
  readonly rows: readonly (readonly string[])[];
  /** Others may follow. */
  readonly areAll: boolean;
}

/**
 * Rows as text: aligned for a terminal of this width, tab-separated and untruncated otherwise. The first rows decide the
 * widths, and what is usual in a column where others may follow, so any number of rows can follow.
 */
export class Table {
  readonly #columns: readonly Column[];
  /** Which of the cells are shown. */
  readonly #shown: readonly number[];
  readonly #widths: readonly number[] | undefined;

  constructor(columns: readonly Column[], first: FirstRows, terminalWidth: number | undefined, measure: Measure) {
    const widths = terminalWidth === undefined ? [] : widthsOf(columns, first, measure);
    this.#shown =
      terminalWidth === undefined ? [...columns.keys()] : shownOf(columns, first.rows, widths, terminalWidth);
    this.#columns = columns;
    this.#widths =
      terminalWidth === undefined
        ? undefined
        : fitted(pick(columns, this.#shown), pick(widths, this.#shown), terminalWidth);
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
    const shown = pick(cells, this.#shown).map(printable);
    const widths = this.#widths;
    if (widths === undefined) return shown.join("\t");
    return shown
      .map((cell, index) => pad(cell, widths[index] ?? 0, measure))
      .join(" ".repeat(GAP))
      .trimEnd();
  }
}

function pick<Item>(items: readonly Item[], indexes: readonly number[]): readonly Item[] {
  return indexes.flatMap((index) => items[index] ?? []);
}

function widthsOf(columns: readonly Column[], { rows, areAll }: FirstRows, measure: Measure): readonly number[] {
  return columns.map(({ title, usual = 0 }, index) =>
    Math.max(title.length, areAll ? 0 : usual, ...rows.map((row) => measure(printable(row[index] ?? "")))),
  );
}

/** All of them, but for those that are optional: where they are empty, and where there is no room for all. */
function shownOf(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  widths: readonly number[],
  terminalWidth: number,
): readonly number[] {
  const isOptional = (index: number) => columns[index]?.isOptional === true;
  const filled = [...columns.keys()].filter((index) => !isOptional(index) || rows.some((row) => row[index] !== EMPTY));
  const least = filled.map((index) => {
    const width = widths[index] ?? 0;
    return columns[index]?.shrinks === true ? Math.min(width, ROOMY) : width;
  });
  const sum = least.reduce((total, width) => total + width + GAP, -GAP);
  return sum <= terminalWidth ? filled : filled.filter((index) => !isOptional(index));
}

function fitted(columns: readonly Column[], widths: readonly number[], terminalWidth: number): readonly number[] {
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
