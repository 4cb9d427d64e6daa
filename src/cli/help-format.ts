import type { Command, HelpConfiguration } from "commander";
import { wrapped } from "./terminal/word-wrap.ts";

/** Headings of options, in the order of the help. */
export const USERS = "Users:";
export const MANY_USERS = "For many users:";
const ORDER: readonly string[] = [USERS, "Options:", MANY_USERS];
/** Lines of prose are no longer, however wide the terminal is. */
const WIDEST = 80;
/** Two columns before a name, and two behind it. */
const MARGINS = 4;
/** One long name does not push all meanings to the right. */
const WIDEST_NAMES = 34;

/** Adds options under this heading. */
export function inGroup(command: Command, heading: string, add: (command: Command) => Command): Command {
  const before = command.optionsGroup();
  return add(command.optionsGroup(heading)).optionsGroup(before);
}

function rank(heading: string): number {
  return ORDER.includes(heading) ? ORDER.indexOf(heading) : ORDER.length;
}

/** In the order of the headings above; others as they come. */
function grouped<Item>(items: readonly Item[], groupOf: (item: Item) => string): Map<string, Item[]> {
  const headings = [...new Set(items.map(groupOf))].toSorted((a, b) => rank(a) - rank(b));
  return new Map(headings.map((heading) => [heading, items.filter((item) => groupOf(item) === heading)]));
}

/** A name that would leave less than half of the width for its meaning gets a line of its own. */
export const HELP_FORMAT: HelpConfiguration = {
  showGlobalOptions: true,
  groupItems: (_, visible, groupOf) => grouped(visible, groupOf),
  formatItem: (name, longest, meaning, { helpWidth = WIDEST }) => row([name, meaning], longest, helpWidth),
};

/** Names with their meanings, in two columns. */
export function laidOut(rows: readonly Row[], width: number): string {
  const longest = Math.max(...rows.map(([name]) => name.length));
  return rows.map((each) => row(each, longest, width)).join("\n");
}

function row([name, meaning]: Row, longest: number, width: number): string {
  const indent = Math.min(longest + MARGINS, WIDEST_NAMES, Math.floor(width / 2));
  const margin = `\n${" ".repeat(indent)}`;
  const begin = name.length + MARGINS > indent ? `  ${name}${margin}` : `  ${name}`.padEnd(indent);
  return begin + wrapped(meaning, width - indent).join(margin);
}

type Row = readonly [name: string, meaning: string];

/** The text below the options in lines for this width. What is indented is typed as it stands, and stays, but for a table. */
export function fitted(notes: string, width = WIDEST): string {
  const paragraphs = notes.split("\n\n").map((paragraph) => {
    const lines = paragraph.split("\n");
    const title = lines.slice(0, /^\w+:$/.test(lines[0] ?? "") ? 1 : 0);
    const rows = rowsIn(lines.slice(title.length));
    if (rows !== undefined) {
      return [...title, laidOut(rows, Math.min(width, WIDEST))].join("\n");
    }
    if (lines.some((line) => line.startsWith(" "))) return paragraph;
    const prose = wrapped(lines.filter((line) => line !== "").join(" "), Math.min(width, WIDEST)).join("\n");
    return `${lines[0] === "" ? "\n" : ""}${prose}${lines.at(-1) === "" ? "\n" : ""}`;
  });
  return paragraphs.join("\n\n");
}

/** A name and its meaning in each line; undefined if there are other lines. */
function rowsIn(lines: readonly string[]): readonly Row[] | undefined {
  const rows = lines.map((line) => /^ {2}(\S+) {2,}(\S.*)$/.exec(line));
  return rows.length > 0 && rows.every((each) => each !== null)
    ? rows.map(([, name = "", meaning = ""]) => [name, meaning])
    : undefined;
}
