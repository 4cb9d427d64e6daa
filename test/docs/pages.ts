import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** A page of the documentation, as it is in the repository. */
export interface Page {
  readonly path: string;
  readonly text: string;
  readonly blocks: readonly Block[];
}

/** A fenced block, and what the comment in front of it asks of the tests. */
export interface Block {
  readonly page: string;
  readonly line: number;
  readonly language: string;
  readonly text: string;
  /** Why nothing runs it; undefined for a block that is run. */
  readonly notRun: string | undefined;
  readonly terms: Terms;
}

/** How a block is run: `<!-- test: home empty; exit 10; answer "Delete" y; any output -->`. */
interface Terms {
  /** One of the scenes; `users` by default. */
  readonly home: string;
  readonly exit: number;
  /** In the home that the block above has left. */
  readonly continues: boolean;
  /** What is typed on a terminal, and the question that it answers. */
  readonly answers: readonly { readonly to: string; readonly type: string }[];
  /** What a `console` block shows is an example: it is not compared with what is printed. */
  readonly anyOutput: boolean;
}

/** The languages of blocks in which nothing is typed into a shell or read by another program. */
export const TEXTS: ReadonlySet<string> = new Set(["text", "json", "python", "ts"]);

const ROOT = new URL("../../", import.meta.url);
const FENCE =
  /^(?: *<!-- (?<kind>not run|test): (?<words>[^\n]*?) -->\n\n?)?(?<indent> *)```(?<language>\w+)\n(?<text>.*?)^\k<indent>```$/gms;

export function textOf(path: string): string {
  return readFileSync(fileURLToPath(new URL(path, ROOT)), "utf8");
}

function pageAt(path: string): Page {
  const text = textOf(path);
  const blocks = Array.from(text.matchAll(FENCE), ({ index, groups = {} }): Block => {
    const { kind, words = "", indent = "", language = "", text: inner = "" } = groups;
    return {
      page: path,
      line: text.slice(0, index).split("\n").length,
      language,
      text: inner.replaceAll(new RegExp(`^${indent}`, "gm"), ""),
      notRun: kind === "not run" ? words : undefined,
      terms: termsOf(kind === "test" ? words : "", `${path}: ${words}`),
    };
  });
  return { path, text, blocks };
}

function termsOf(words: string, where: string): Terms {
  const terms = {
    home: "users",
    exit: 0,
    continues: false,
    anyOutput: false,
    answers: [] as Terms["answers"][number][],
  };
  for (const word of words.split("; ").filter((each) => each !== "")) {
    const [, home, exit, to, type] = /^(?:home (.+)|exit (\d+)|answer "(.+)" ([\w-]+))$/.exec(word) ?? [];
    if (home !== undefined) terms.home = home;
    else if (exit !== undefined) terms.exit = Number(exit);
    else if (to !== undefined && type !== undefined) terms.answers.push({ to, type });
    else if (word === "continues") terms.continues = true;
    else if (word === "any output") terms.anyOutput = true;
    else throw new Error(`nobody knows what '${word}' asks of the tests, in ${where}`);
  }
  return terms;
}

/** A command of the text as a block that is run on these terms, in the words of the comment before a block. */
export function blockOf(command: string, words: string): Block {
  const terms = termsOf(words, command);
  return { page: command, line: 1, language: "console", text: `$ ${command}\n`, notRun: undefined, terms };
}

/** The README, docs/ and CONTRIBUTING.md. */
export const PAGES: readonly Page[] = [
  "README.md",
  "CONTRIBUTING.md",
  ...readdirSync(new URL("docs/", ROOT)).flatMap((name) => (name.endsWith(".md") ? [`docs/${name}`] : [])),
].map(pageAt);

export function page(path: string): Page {
  const found = PAGES.find((each) => each.path === path);
  if (found === undefined) throw new Error(`there is no ${path}`);
  return found;
}

/** What people who use keyctl read: all but CONTRIBUTING.md. */
export const USER_PAGES = PAGES.filter(({ path }) => path !== "CONTRIBUTING.md");

/** The rows of all tables of a page whose first title is this, without the backquotes around a whole cell. */
export function tableOf({ text }: Page, title: string): readonly (readonly string[])[] {
  const tables = text.split("\n\n").filter((paragraph) => new RegExp(`^\\| *${title} *\\|`).test(paragraph));
  return tables.flatMap((table) =>
    table
      .trimEnd()
      .split("\n")
      .slice(2)
      .map((row) =>
        row
          .split(/(?<!\\)\|/)
          .slice(1, -1)
          .map((cell) => cell.trim().replaceAll("\\|", "|")),
      ),
  );
}

/** The text of a page without its fenced blocks and comments. */
export function proseOf({ text }: Page): string {
  return text.replaceAll(FENCE, "").replaceAll(/<!--.*?-->/gs, "");
}
