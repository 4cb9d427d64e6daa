import { describe, expect, it } from "vitest";
import { commandsIn, unknownWordsOf } from "../support/fixtures/hints.ts";
import { VERBS } from "../support/fixtures/verbs.ts";
import { emptyHome } from "../support/home/home.ts";
import { PAGES, proseOf, textOf, TEXTS } from "./pages.ts";

describe("the commands of the pages", () => {
  const typed = PAGES.flatMap(({ blocks }) => blocks)
    .filter(({ language }) => !TEXTS.has(language))
    .flatMap(({ text }) => commandsIn(text));
  const inText = PAGES.flatMap((each) =>
    Array.from(proseOf(each).matchAll(/`(keyctl [^`]+)`/g), ([, found = ""]) => found),
  );
  const commands = [...new Set([...typed, ...inText])];

  it("are there for every verb", () => {
    const verbs = commands.map((command) => command.split(" ")[1] ?? "");
    expect([...VERBS, "help"].filter((verb) => !verbs.includes(verb))).toEqual([]);
    expect(commands.length).toBeGreaterThan(80);
  });

  it.each(commands)("%s: is understood, and its flags exist", async (command) => {
    const filled = command.replaceAll(/<sha256>|"\$hash"/g, "0".repeat(64)).replaceAll("<i/n>", "1/2");
    expect(await unknownWordsOf(filled, emptyHome())).toEqual([]);
  });

  it("of npm are scripts that there are", () => {
    const { scripts } = JSON.parse(textOf("package.json")) as { scripts: Record<string, string> };
    const named = PAGES.flatMap(({ text }) => Array.from(text.matchAll(/npm run ([\w:-]+)/g), ([, name = ""]) => name));
    expect([...new Set(named)].filter((name) => !(name in scripts))).toEqual([]);
  });
});
