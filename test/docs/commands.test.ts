import { describe, expect, it } from "vitest";
import { commandsIn, unknownWordsOf } from "../support/fixtures/hints.ts";
import { VERBS } from "../support/fixtures/verbs.ts";
import { emptyHome } from "../support/home/home.ts";
import { KEY } from "../support/fixtures/keys.ts";
import { mongodb } from "../support/mongodb/of-test.ts";
import { blockOf, PAGES, proseOf, textOf, TEXTS } from "./pages.ts";
import { runBlock } from "./run-block.ts";
import { needsMongodb, sceneOf } from "./scenes.ts";

/** Commands in the text of a page that no block runs: they are run here, on these terms. */
const RUN_HERE: Readonly<Record<string, string>> = {
  "keyctl completion bash": "home empty",
  "keyctl copy --to mongodb://db.prod/keyctl --create": "home users and MongoDB",
  "keyctl copy --to sqlite:keys.db --create": "home users",
  "keyctl doctor --deep": "home users",
  "keyctl exec --user alice -- node app.js": "home users",
  "keyctl exec --user alice -- nohup node app.js": "home users",
  "keyctl help environment": "home empty",
  "keyctl help exit-codes": "home empty",
  "keyctl import --csv keys.csv": "home users",
  "keyctl list --store mongodb://db.prod/keyctl": "home keys in MongoDB",
  "keyctl provision --user alice --limit 5 --limit-reset monthly": "home empty",
  "keyctl purge --user alice --block": 'home users; answer "and block this user?" y',
  "keyctl purge --user alice --revoke --block": 'home users; answer "and block this user?" y',
  "keyctl purge --users-file leavers.txt --revoke --block": 'home users; answer "and block" y',
  "keyctl purge --users-file users.txt --revoke": 'home users; answer "Delete 3 keys of 3 users" y',
  "keyctl reconcile --adopt-account": "home users",
  "keyctl rotate --user alice --grace 0": "home users",
  "keyctl rotate --user alice --include-foreign --include-disabled": "home users",
  "keyctl rotate --user alice --limit full": "home users",
  "keyctl save --user alice --from-file key.txt --replace --revoke": "home users",
  "keyctl save --user alice --replace": `home users; answer "OpenRouter key of alice:" ${KEY}`,
  "keyctl save --user alice --validate": `home empty; answer "OpenRouter key of alice:" ${KEY}`,
  "keyctl sync --user alice --json": "home users",
  "keyctl sync --user alice --timeout 2m": "home users",
  "keyctl unblock --user alice": "home users",
};

/** With alice for any user, and one blank between words. */
function plain(command: string): string {
  return command.replaceAll("<id>", "alice").split(/\s+/).join(" ").trim();
}

/** The same command for alice, whoever it is for. */
function forAlice(command: string): string {
  return command.replaceAll(/ (?:-u|--user) \S+/g, " --user alice");
}

describe("the commands of the pages", () => {
  const typed = PAGES.flatMap(({ blocks }) => blocks)
    .filter(({ language }) => !TEXTS.has(language))
    .flatMap(({ text }) => commandsIn(text));
  const inText = PAGES.flatMap((each) =>
    Array.from(proseOf(each).matchAll(/`(keyctl [^`]+)`/g), ([, found = ""]) => found),
  );
  const commands = [...new Set([...typed, ...inText])];
  const run = PAGES.flatMap(({ blocks }) => blocks)
    .filter(({ language, notRun }) => !TEXTS.has(language) && notRun === undefined)
    .flatMap(({ text }) => commandsIn(text).map(plain));

  it("are there for every verb", () => {
    const verbs = commands.map((command) => command.split(" ")[1] ?? "");
    expect([...VERBS, "help"].filter((verb) => !verbs.includes(verb))).toEqual([]);
    expect(commands.length).toBeGreaterThan(80);
  });

  it.each(commands)("%s: is understood, and its flags exist", async (command) => {
    const filled = command
      .replaceAll(/<sha256>|"\$hash"/g, "0".repeat(64))
      .replaceAll(/<i\/n>|\$part\/4|"\$CI_NODE_INDEX\/\$CI_NODE_TOTAL"/g, "1/2");
    expect(await unknownWordsOf(filled, emptyHome())).toEqual([]);
  });

  it("answer no question in advance, and end nothing early, where they are copied", () => {
    const pages = PAGES.flatMap(({ blocks }) => blocks.flatMap(({ text }) => commandsIn(text)));
    const harmful = / (?:--yes|-y|--confirm \d+|--grace 0|--(?:expires-in|older-than) \d+(?:ms|s|m|h))(?: |$)/;
    expect(pages.filter((command) => harmful.test(command))).toEqual([]);
  });

  it("are run in a block, or below, where a page has them in its text", () => {
    // A verb that is only named, a value of any kind, and a part of the program's own hints are nothing to type.
    const whole = inText.map(plain).filter((command) => command.split(" ").length > 2 && !command.includes("<"));
    const elsewhere = new Set([...run, ...Object.keys(RUN_HERE)]);
    const known = new Set([...elsewhere].map(forAlice));
    expect(whole.filter((command) => !known.has(forAlice(command)))).toEqual([]);
    expect(Object.keys(RUN_HERE).filter((command) => !whole.includes(command))).toEqual([]);
  });

  it.each(Object.entries(RUN_HERE))("%s: does what it says (%s)", async (command, words) => {
    const block = blockOf(command, words);
    if (needsMongodb(block.terms.home) && mongodb === null) return;
    const { code, output } = await runBlock(block, await sceneOf(block.terms.home));
    expect({ code, output }).toEqual({ code: block.terms.exit, output });
  });

  it("of npm are scripts that there are", () => {
    const { scripts } = JSON.parse(textOf("package.json")) as { scripts: Record<string, string> };
    const named = PAGES.flatMap(({ text }) => Array.from(text.matchAll(/npm run ([\w:-]+)/g), ([, name = ""]) => name));
    expect([...new Set(named)].filter((name) => !(name in scripts))).toEqual([]);
  });
});
