import { printable } from "../../core/text/printable.ts";
import { wrapped } from "./word-wrap.ts";

const GAP = 2;
const NARROWEST = 8;
/** Characters of one column each: ASCII and keyctl's own signs. */
const NARROW = /^[\x20-\x7E✓✗…]*$/;
/** The last column may hold a sentence that wraps; it takes no more than this from the other columns. */
const WIDEST_LAST = 24;
/** What a column of sentences wants of a narrow terminal. */
const WIDEST_WRAPPED = 12;

/** What a column that shrinks keeps before another one is left out for it. */
const ROOMY = 12;

/** A cell without a value. */
const EMPTY = "-";

/** A column: its title, and what becomes of it when the terminal is narrow. */
export interface Column {
  readonly title: string;
  /** Its cells are cut. */
  readonly shrinks?: boolean;
  /** Only the last one: its cells are sentences, which go on below their beginning. */
  readonly wraps?: boolean;
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
  /** Undefined if the last column does not wrap. */
  readonly #wrapWidth: number | undefined;

  constructor(columns: readonly Column[], first: FirstRows, terminalWidth: number | undefined, measure: Measure) {
    const widths = terminalWidth === undefined ? [] : widthsOf(columns, first, measure);
    this.#shown =
      terminalWidth === undefined ? [...columns.keys()] : shownOf(columns, first.rows, widths, terminalWidth);
    this.#wrapWidth = columns.at(-1)?.wraps === true ? terminalWidth : undefined;
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
    const line = (some: readonly string[]) =>
      some
        .map((cell, index) => pad(cell, widths[index] ?? 0, measure))
        .join(" ".repeat(GAP))
        .trimEnd();
    const [first = "", ...more] = this.#wrapped(shown.at(-1) ?? "");
    return [line([...shown.slice(0, -1), first]), ...more].join("\n");
  }

  /** The last cell, with the indentation of its further lines. */
  #wrapped(text: string): readonly string[] {
    if (this.#wrapWidth === undefined) return [text];
    const indent = (this.#widths ?? []).slice(0, -1).reduce((sum, width) => sum + width + GAP, 0);
    const left = this.#wrapWidth - indent;
    if (left < NARROWEST) return [text];
    const lines = wrapped(text, left).flatMap((line) => inPieces(line, left));
    return lines.map((line, index) => (index === 0 ? line : " ".repeat(indent) + line));
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
    if (columns[index]?.wraps === true) return Math.min(width, NARROWEST);
    return columns[index]?.shrinks === true ? Math.min(width, ROOMY) : width;
  });
  const sum = least.reduce((total, width) => total + width + GAP, -GAP);
  return sum <= terminalWidth ? filled : filled.filter((index) => !isOptional(index));
}

function fitted(columns: readonly Column[], widths: readonly number[], terminalWidth: number): readonly number[] {
  const last = widths.length - 1;
  const widest = columns[last]?.wraps === true ? WIDEST_WRAPPED : WIDEST_LAST;
  const fits = widths.map((width, index) => (index === last ? Math.min(width, widest) : width));
  let excess = fits.reduce((sum, width) => sum + width + GAP, -GAP) - terminalWidth;
  for (; excess > 0; excess -= 1) {
    const next = widestOf(columns, fits);
    if (next === undefined) break;
    fits[next] = (fits[next] ?? 0) - 1;
  }
  return fits.map((width, index) => (index === last ? Number.POSITIVE_INFINITY : width));
}

/** The widest column but the last that can be narrower. */
function widestOf(columns: readonly Column[], widths: readonly number[]): number | undefined {
  const width = (index: number) => widths[index] ?? 0;
  const candidates = [...widths.keys()]
    .slice(0, -1)
    .filter((index) => columns[index]?.shrinks && width(index) > NARROWEST);
  return candidates.reduce<number | undefined>(
    (best, index) => (best === undefined || width(index) > width(best) ? index : best),
    undefined,
  );
}

/** A word may be longer than a line. */
function inPieces(line: string, width: number): readonly string[] {
  const characters = Array.from(line);
  const starts = Array.from({ length: Math.max(1, Math.ceil(characters.length / width)) }, (_, piece) => piece * width);
  return starts.map((start) => characters.slice(start, start + width).join(""));
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
