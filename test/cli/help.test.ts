import { describe, expect, it } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import { errorOf, inProcess } from "../support/programs/in-process.ts";
import type { InProcessOptions } from "../support/programs/in-process.ts";
import { VERBS } from "../support/fixtures/verbs.ts";

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

  it("is what keyctl prints without a command, and that is an error", async () => {
    const help = await textOf(["--help"]);
    const { code, stdout, stderr } = await inProcess(emptyHome(), []);
    expect({ code, stdout }).toEqual({ code: 2, stdout: help });
    expect(stderr).toBe("error: no command given\nhint: keyctl sync --help   explains one\n");
    const asJson = await inProcess(emptyHome(), ["--json"]);
    expect(errorOf(asJson)).toMatchObject({ code: "USAGE", exit_code: 2, message: "no command given" });
    expect(asJson.stdout.trimEnd().split("\n")).toHaveLength(1);
  });

  it("prints the version", async () => {
    expect(await textOf(["--version"])).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe("a mistyped word", () => {
  it.each([
    [["syn"], "unknown command 'syn'; did you mean 'sync'?"],
    [["lst"], "unknown command 'lst'; did you mean 'list'?"],
    [["revoke", "--user", "alice"], "unknown command 'revoke'; did you mean 'keyctl purge --revoke'?"],
    [["restore"], "unknown command 'restore'; did you mean 'keyctl copy'?"],
    [["constructor"], "unknown command 'constructor'"],
    [["sync", "--usr", "alice"], "unknown option '--usr'; did you mean '--user'?"],
    [["get", "--stord"], "unknown option '--stord'; did you mean '--store' or '--stored'?"],
    [["purge", "--jsn"], "unknown option '--jsn'; did you mean '--json'?"],
    [["sync", "alice"], "unexpected argument 'alice'; did you mean --user alice?"],
    [["sync", "--user", "bob", "al ice"], "unexpected argument 'al ice'; did you mean --user 'al ice'?"],
    [["list", "alice"], "unexpected argument 'alice'; keyctl list is about all users"],
    [["help", "synk"], "no help for 'synk'; did you mean 'keyctl help sync'?"],
    [["help", "revoke"], "no help for 'revoke'; did you mean 'keyctl help purge'?"],
    [["help", "environ"], "no help for 'environ'; did you mean 'keyctl help environment'?"],
    [["help", "quux"], "no help for 'quux'"],
  ])("%j: %s", async (args, message) => {
    const run = await inProcess(emptyHome(), args);
    expect(run.stderr.split("\n")[0]).toBe(`error: ${message}`);
    expect(run.stderr).toMatch(/\nhint: keyctl .*\n$/);
  });
});

describe("the hint of a failure", () => {
  it("is quoted so that a shell reads the user's own id back", async () => {
    const home = emptyHome();
    const run = await inProcess(home, ["sync", "--json", "--user", "o'brien $(reboot)"]);
    expect(errorOf(run)?.hint).toBe(`keyctl save --user 'o'\\''brien $(reboot)'`);
  });
});
