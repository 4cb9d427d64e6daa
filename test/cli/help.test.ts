import { describe, expect, it } from "vitest";
import { wholeProgram } from "../../src/cli/program.ts";
import { readConfig } from "../../src/config/config.ts";
import { LONGEST_GRACE_MS } from "../../src/core/model/grace.ts";
import { CREATED_AT_ONCE, ROTATED_AT_ONCE, VALIDATED_AT_ONCE } from "../../src/core/model/number-options.ts";
import { durationText } from "../../src/core/text/duration.ts";
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
    const [, groups = ""] = /^(Everyday:\n.*?)\n\nExamples:/ms.exec(help) ?? [];
    expect((groups.match(/^ {2}[a-z]+/gm) ?? []).map((line) => line.trim())).toEqual([...VERBS, "help"]);
    expect(groups.match(/^\S.*:$/gm)).toEqual(["Everyday:", "Many users:", "Keys at OpenRouter:", "Maintenance:"]);
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

  const topics = [
    ["--help"],
    ["help", "exit-codes"],
    ["help", "environment"],
    ...VERBS.map((verb) => [verb, "--help"]),
  ];

  it.each([200, 80, 60])("fits a terminal of %i columns, but for what is typed as it stands", async (columns) => {
    for (const topic of topics) {
      const help = await textOf(topic, { columns });
      const [text = "", examples = ""] = help.split("\nExamples:\n");
      const lines = [...text.split("\n"), ...(columns === 80 ? examples.split("\n") : [])];
      expect(lines.filter((line) => line.length > columns)).toEqual([]);
    }
  });

  it("leaves half of a narrow terminal to what an option means", async () => {
    const help = await textOf(["validate", "--help"], { columns: 60 });
    expect(help).toContain(`
  --not-validated-since <duration|date>
                              reuse verdicts younger than
                              this
  --from-listing              decide by OpenRouter's list of
`);
  });

  it("shows which users, the command's own options, and those for many users apart", async () => {
    const help = await textOf(["rotate", "--help"]);
    const headings = ["Users:", "Options:", "For many users:", "Global Options:"];
    expect(help.match(/^[A-Z][\w ]*:$/gm)?.slice(0, 4)).toEqual(headings);
    const [, many = ""] = /^For many users:\n(.*?)\n\n/ms.exec(help) ?? [];
    for (const flag of ["--output", "--max-keys", "--older-than", "--rate"]) expect(many).toContain(`  ${flag} `);
    for (const flag of ["--grace", "--user ", "--help"]) expect(many).not.toContain(flag);
  });

  it("names the fourth step of sync", async () => {
    const help = (await textOf(["sync", "--help"])).replaceAll(/\s+/g, " ");
    expect(help).toMatch(
      /in this order: the database, key.txt, OPENROUTER_API_KEY and, .* OpenRouter, .*auto-provision/,
    );
  });

  it("says each default once, as the code has it", async () => {
    const { commands, options } = await wholeProgram("");
    const all = [...options, ...commands.flatMap((command) => command.options)];
    const inCommander = all.filter(
      ({ defaultValue }) => defaultValue !== undefined && typeof defaultValue !== "boolean",
    );
    expect(inCommander).toEqual([]);
    const said = all.flatMap(({ long, description }) => {
      const [, value] = /\(default:? ([^)]*)\)/.exec(description) ?? [];
      return value === undefined ? [] : [`${long} ${value}`];
    });
    const { timeoutMs, makingTimeoutMs, rotateGraceMs } = readConfig(emptyHome().environment);
    expect(new Set(said)).toEqual(
      new Set([
        `--timeout ${durationText(timeoutMs)}; ${makingTimeoutMs / 1000}s where a key may be created`,
        `--grace ${durationText(rotateGraceMs())}; ${durationText(LONGEST_GRACE_MS)} at most`,
        `--concurrency ${VALIDATED_AT_ONCE}`,
        `--concurrency ${CREATED_AT_ONCE}`,
        `--concurrency ${ROTATED_AT_ONCE}`,
        "--limit keep",
        "--expires-in that of the old key",
        "--source manual",
        "--allow-unknown 0",
        "--since 30d",
      ]),
    );
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
    [["sync", "al ice"], "unexpected argument 'al ice'; did you mean --user 'al ice'?"],
    [["sync", "--user", "bob", "al ice"], "unexpected argument 'al ice'"],
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
