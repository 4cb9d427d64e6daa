import { describe, expect, it } from "vitest";
import { mongodb } from "../support/mongodb/of-test.ts";
import { page, PAGES, TEXTS } from "./pages.ts";
import type { Block } from "./pages.ts";
import { comparable, runBlock, shownLines } from "./run-block.ts";
import { needsMongodb, sceneOf } from "./scenes.ts";
import type { Scene } from "./scenes.ts";

/** What is typed into a shell. */
const SHELLS: ReadonlySet<string> = new Set(["sh", "console"]);
/** What another program reads: it is never run here, and says so. */
const OTHER_PROGRAMS: ReadonlySet<string> = new Set(["powershell", "yaml", "ini", "js"]);

const BLOCKS = PAGES.flatMap(({ blocks }) => blocks);
const nameOf = ({ page: path, line, text }: Block) => `${path}:${line} ${text.split("\n")[0]}`;

/** Blocks that share a home: one, and those behind it that go on in it. */
function sequences(): readonly (readonly Block[])[] {
  const found: Block[][] = [];
  for (const { blocks } of PAGES) {
    for (const block of blocks.filter(({ language, notRun }) => SHELLS.has(language) && notRun === undefined)) {
      if (block.terms.continues) found.at(-1)?.push(block);
      else found.push([block]);
    }
  }
  return found;
}

/** Every line that the page shows is printed, in the order of the page. */
function unprinted(block: Block, output: string, scene: Scene): readonly string[] {
  const printed = output.split(/\r*\n|\r/).map((line) => comparable(line, scene));
  let from = 0;
  return shownLines(block).filter((line) => {
    // The line of progress may stand before it.
    const shown = comparable(line, scene);
    const at = printed.findIndex((each, index) => index >= from && each.endsWith(shown));
    if (at !== -1) from = at + 1;
    return at === -1;
  });
}

describe("the blocks of the pages", () => {
  it("are in languages that something checks", () => {
    const languages = [...SHELLS, ...OTHER_PROGRAMS, ...TEXTS];
    expect(BLOCKS.filter(({ language }) => !languages.includes(language)).map(nameOf)).toEqual([]);
    // None is missed by how it is written.
    const fences = PAGES.flatMap(({ text }) => text.match(/^ *```\w+$/gm) ?? []);
    expect(BLOCKS.length).toBe(fences.length);
  });

  it("say why, where nothing runs them", () => {
    const unexplained = BLOCKS.filter(({ language, notRun }) => OTHER_PROGRAMS.has(language) && notRun === undefined);
    expect(unexplained.map(nameOf)).toEqual([]);
    const reasons = BLOCKS.flatMap(({ notRun }) => notRun ?? []);
    expect(reasons.filter((reason) => reason.split(" ").length < 3)).toEqual([]);
  });

  it.each(sequences().map((blocks) => [blocks.map(nameOf)[0] ?? "", blocks] as const))("%s", async (_, blocks) => {
    const home = blocks[0]?.terms.home ?? "";
    if (needsMongodb(home) && mongodb === null) return;
    const scene = await sceneOf(home);
    for (const block of blocks) {
      const { code, output } = await runBlock(block, scene);
      expect({ block: nameOf(block), code, output }).toEqual({ block: nameOf(block), code: block.terms.exit, output });
      if (block.language !== "console" || block.terms.anyOutput) continue;
      expect({ output, unprinted: unprinted(block, output, scene) }).toEqual({ output, unprinted: [] });
    }
  });
});

it("the README is of two hundred lines at most", () => {
  expect(page("README.md").text.split("\n").length - 1).toBeLessThanOrEqual(200);
});
