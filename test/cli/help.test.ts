import { describe, expect, it } from "vitest";
import { emptyHome } from "../support/home.ts";
import { errorOf, inProcess } from "../support/in-process.ts";
import type { InProcessOptions } from "../support/in-process.ts";
import { OUTCOMES, REFUSALS } from "../support/outcomes.ts";

const VERBS = ["sync", "get", "save", "purge", "list"];

async function textOf(args: readonly string[], options: InProcessOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await inProcess(emptyHome(), args, options);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout;
}

describe("help", () => {
  it.each(VERBS)("of %s has examples of that command", async (verb) => {
    const help = await textOf([verb, "--help"]);
    const examples = help.slice(help.indexOf("\nExamples:\n"));
    expect(examples.match(new RegExp(`keyctl ${verb}\\b`, "g"))?.length).toBeGreaterThanOrEqual(3);
  });

  it.each(VERBS)("on %s is the same in each of its forms", async (verb) => {
    const help = await textOf([verb, "--help"]);
    for (const form of [
      ["help", verb],
      [verb, "-h"],
      ["--json", "help", verb],
      [verb, "--json", "--help"],
    ]) {
      expect(await textOf(form)).toBe(help);
    }
  });

  it("names every command, and nothing of a later version", async () => {
    const help = await textOf(["--help"]);
    expect(help).toBe(await textOf(["help"]));
    const commands = /^Commands:\n(.*?)\n\n/ms.exec(help)?.[1]?.match(/^ {2}\w+/gm) ?? [];
    expect(commands.map((line) => line.trim())).toEqual([...VERBS, "help"]);
  });

  it("lists every exit code with its meaning", async () => {
    const help = await textOf(["help", "exit-codes"]);
    const codes = [...help.matchAll(/^ {2}(\d+) +\S/gm)].map(([, code]) => Number(code));
    expect(codes).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 130, 143]);
  });

  it("names the variables of the environment", async () => {
    const help = await textOf(["help", "environment"]);
    for (const name of ["OPENROUTER_API_KEY", "KEYCTL_STORE", "KEYCTL_MASTER_KEYS", "NO_COLOR", "_FILE"]) {
      expect(help).toContain(name);
    }
  });

  it.each([
    [80, [["--help"], ["help", "exit-codes"], ["help", "environment"], ...VERBS.map((verb) => [verb, "--help"])]],
    [
      60,
      [
        ["help", "exit-codes"],
        ["help", "environment"],
      ],
    ],
  ])("fits a terminal of %i columns", async (columns, topics) => {
    for (const topic of topics) {
      const help = await textOf(topic, { columns });
      expect(help.split("\n").filter((line) => line.length > columns)).toEqual([]);
    }
  });

  it("prints the version", async () => {
    expect(await textOf(["--version"])).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe("a mistyped word", () => {
  it.each([
    [["syn"], "unknown command 'syn'; did you mean 'sync'?"],
    [["lst"], "unknown command 'lst'; did you mean 'list'?"],
    [["sync", "--usr", "alice"], "unknown option '--usr'; did you mean '--user'?"],
    [["get", "--stord"], "unknown option '--stord'; did you mean '--store' or '--stored'?"],
    [["purge", "--jsn"], "unknown option '--jsn'; did you mean '--json'?"],
    [["sync", "alice"], "keyctl sync takes options only, no other words"],
    [["help", "synk"], "there is no help on 'synk'"],
    [[], "no command is given"],
  ])("%j: %s", async (args, message) => {
    const run = await inProcess(emptyHome(), args);
    expect(run.stderr.split("\n")[0]).toBe(`error: ${message}`);
    expect(run.stderr).toMatch(/\nhint: keyctl .*--help.*\n$/);
  });
});

describe("a hint", () => {
  it.each([...OUTCOMES, ...REFUSALS])("names only what this version has: $title", async ({ args, given, options }) => {
    const home = emptyHome();
    await given?.(home);
    const { stderr } = await inProcess(home, args, options);
    const verb = VERBS.find((known) => args[0] === known);
    for (const command of commandsIn(hintsIn(stderr))) {
      const words = command.split(/\s+/).slice(1);
      expect((await inProcess(home, [...words, "--help"])).code).toBe(0);
      const help = await textOf(VERBS.includes(words[0] ?? "") ? [words[0] ?? "", "--help"] : ["--help"]);
      for (const flag of flagsIn(command)) expect(help).toContain(`${flag} `);
    }
    if (verb === undefined) return;
    const help = await textOf([verb, "--help"]);
    for (const flag of flagsIn(withoutCommands(hintsIn(stderr)))) expect(help).toContain(`${flag} `);
  });

  it("is quoted so that a shell reads the user's own id back", async () => {
    const home = emptyHome();
    const run = await inProcess(home, ["sync", "--json", "--user", "o'brien $(reboot)"]);
    expect(errorOf(run)?.hint).toBe(`keyctl save --user 'o'\\''brien $(reboot)'`);
  });
});

const COMMAND = /\bkeyctl (?:[a-z]+|--)[^\n]*?(?=\s{3}|\s[|<>] |$)/gm;

function hintsIn(stderr: string): string {
  return [...stderr.matchAll(/^hint: (.*(?:\n {6}.*)*)/gm)].map(([, hint]) => hint).join("\n");
}

/** The command lines in a text, with something in place of `<id>` and its like. */
function commandsIn(text: string): readonly string[] {
  return (text.match(COMMAND) ?? []).map((command) => command.replaceAll(/<\w+>/g, "7"));
}

function withoutCommands(text: string): string {
  return text.replaceAll(COMMAND, "");
}

function flagsIn(text: string): readonly string[] {
  return text.match(/(?<![\w-])--[a-z][a-z-]*/g) ?? [];
}
