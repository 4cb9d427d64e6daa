import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { wholeProgram } from "../../src/cli/program.ts";
import { emptyHome } from "../support/home/home.ts";
import { documentsOf, inProcess } from "../support/programs/in-process.ts";

const SHELLS = ["bash", "zsh", "fish", "powershell"];

async function scriptFor(shell: string): Promise<string> {
  const { code, stdout, stderr } = await inProcess(emptyHome(), ["completion", shell]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout;
}

/** Every option of every command, and of all. */
async function optionsOfTheProgram(): Promise<readonly string[]> {
  const { options, commands } = await wholeProgram("0.0.0");
  const all = [...options, ...commands.flatMap((command) => command.options)];
  return [...new Set(all.map(({ long }) => String(long)))];
}

describe("the completion script", () => {
  it.each(SHELLS)("of %s has every command, every option and every choice of the program", async (shell) => {
    const script = await scriptFor(shell);
    const { commands } = await wholeProgram("0.0.0");
    const commandNames = commands.map((command) => command.name());
    const choices = ["valid", "invalid", "never", "daily", "weekly", "monthly", "exit-codes", "environment", "blocked"];
    // fish has the name of an option without its dashes.
    const options = (await optionsOfTheProgram()).map((option) =>
      shell === "fish" ? `-l ${option.slice(2)}` : option,
    );
    expect(options.length).toBeGreaterThan(40);
    const expected = [...commandNames, ...options, ...choices, ...SHELLS];
    expect(expected.filter((word) => !new RegExp(`(?<![\\w-])${word}(?![\\w-])`).test(script))).toEqual([]);
  });

  it.each(SHELLS)("of %s is for both names of the program, and starts neither", async (shell) => {
    const script = await scriptFor(shell);
    expect(script).toContain("openrouter-keyctl");
    expect(script).not.toMatch(/\$\(\s*(?:openrouter-)?keyctl\b|`/);
  });

  it("comes as a document with --json", async () => {
    const script = await scriptFor("bash");
    const documents = documentsOf(await inProcess(emptyHome(), ["--json", "completion", "bash"]));
    expect(documents).toEqual([{ shell: "bash", script: script.trimEnd(), error: null }]);
  });

  it("is made without a store, a file or a question", async () => {
    const home = emptyHome();
    const env = { KEYCTL_STORE: "", OPENROUTER_API_KEY: "nonsense" };
    const { code } = await inProcess(home, ["completion", "zsh"], { env });
    expect([code, readdirSync(home.folder)]).toEqual([0, ["work"]]);
  });

  it.each([
    [["completion"], "no shell is given: bash, zsh, fish, powershell"],
    [["completion", "tcsh"], "there is no completion for 'tcsh': bash, zsh, fish, powershell"],
    [["completion", "constructor"], "there is no completion for 'constructor': bash, zsh, fish, powershell"],
  ])("%j: %s", async (args, message) => {
    const { code, stdout, stderr } = await inProcess(emptyHome(), args);
    expect({ code, stdout, stderr }).toEqual({
      code: 2,
      stdout: "",
      stderr: `error: ${message}\nhint: keyctl completion --help\n`,
    });
  });
});
