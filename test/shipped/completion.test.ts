import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { wholeProgram } from "../../src/cli/program.ts";
import { emptyHome } from "../support/home/home.ts";
import { shipped } from "../support/programs/installed-library.ts";
import { keyctl } from "../support/programs/keyctl.ts";
import { inBash, inFish, inZsh, needs } from "../support/programs/shells.ts";

/** What is typed, what is offered then, and one thing that is not. */
const LINES: readonly (readonly [line: string, offered: readonly string[], notOffered: string])[] = [
  ["keyctl li", ["list"], "sync"],
  ["keyctl ", ["sync", "get", "completion", "help"], "--user"],
  ["keyctl list --verd", ["--verdict"], "--version"],
  ["keyctl list --verdict ", ["valid", "invalid", "never"], "--count"],
  ["keyctl list --verdict=in", ["invalid"], "valid"],
  ["keyctl provision --limit-reset ", ["daily", "weekly", "monthly"], "valid"],
  ["keyctl --store get save --re", ["--replace", "--revoke"], "--reveal"],
  ["keyctl get --user sync --re", ["--reveal"], "--replace"],
  ["keyctl purge --json --quiet --rev", ["--revoke", "--revoke-foreign"], "--reveal"],
  ["keyctl --key-file al", ["alice.txt"], "list"],
  ["keyctl save --from-file al", ["alice.txt"], "--all"],
  ["keyctl sync --users-file=al", ["alice.txt"], "--all"],
  ["keyctl completion ", ["bash", "zsh", "fish", "powershell"], "sync"],
  ["keyctl help e", ["exit-codes", "environment", "explain"], "sync"],
  ["keyctl exec --user alice --e", ["--env"], "--reveal"],
  ["keyctl exec --user alice -- mkfifo al", ["alice.txt"], "--env"],
  ["openrouter-keyctl comp", ["completion"], "copy"],
];

async function scriptFor(shell: string): Promise<string> {
  const { code, stdout } = await keyctl(emptyHome(), ["completion", shell]);
  expect(code).toBe(0);
  return stdout;
}

describe.each([
  ["bash", inBash],
  ["zsh", inZsh],
  ["fish", inFish],
] as const)("the completion of %s, in that shell", (shell, completes) => {
  it.for(LINES)("offers at '%s'", async ([line, offered, notOffered], context) => {
    needs(shell, context);
    const home = emptyHome();
    writeFileSync(join(home.work, "alice.txt"), "");
    const words = await completes(home, await scriptFor(shell), line);
    expect(words).toEqual(expect.arrayContaining([...offered]));
    expect(words).not.toContain(notOffered);
  });
});

describe.each([
  ["bash", inBash],
  ["zsh", inZsh],
  ["fish", inFish],
] as const)("the completion of %s after --", (shell, completes) => {
  it("offers no option of keyctl", async (context) => {
    needs(shell, context);
    for (const line of ["keyctl exec -u a -- --", "keyctl exec -u a -- true --", "keyctl get -u a -- --"]) {
      const words = await completes(emptyHome(), await scriptFor(shell), line);
      expect(words.filter((word) => ["--user", "--env", "--json", "--reveal"].includes(word))).toEqual([]);
    }
  });
});

describe.each([
  ["bash", inBash],
  ["fish", inFish],
] as const)("the completion of %s right after --", (shell, completes) => {
  it("offers the commands of the PATH", async (context) => {
    needs(shell, context);
    expect(await completes(emptyHome(), await scriptFor(shell), "keyctl exec -u a -- mkf")).toContain("mkfifo");
  });
});

/** A terminal's bold is a letter, a backspace and the letter again. */
function withoutOverstrikes(text: string): string {
  return text
    .split("\b")
    .map((part, index, all) => (index < all.length - 1 ? part.slice(0, -1) : part))
    .join("");
}

function manPage(): string {
  return join(shipped().project, "node_modules", "keyctl", "dist", "man", "keyctl.1");
}

describe("the man page", () => {
  it("has every command, every option, the exit codes and the variables", async () => {
    const page = readFileSync(manPage(), "utf8").replaceAll(String.raw`\-`, "-");
    const { commands, options } = await wholeProgram("0.0.0");
    const names = commands.map((command) => command.name()).filter((name) => name !== "help");
    expect(Array.from(page.matchAll(/^\.SS (\w+)$/gm), ([, name]) => name)).toEqual(names);
    const all = [...options, ...commands.flatMap((command) => command.options)].map(({ long }) => String(long));
    expect(all.filter((option) => !page.includes(String.raw`\fB${option}\fR`))).toEqual([]);
    for (const word of ["130", "KEYCTL_STORE", "keyctl get --user alice --reveal"]) expect(page).toContain(word);
  });

  it.for([
    ["groff", ["-k", "-man", "-ww", "-Tutf8", "-P-c"]],
    ["mandoc", ["-T", "utf8", "-W", "error"]],
    ["man", ["--warnings", "-E", "UTF-8", "-l"]],
  ] as const)("is shown by %s without a complaint", async ([program, words], context) => {
    needs(program, context);
    const { exitCode, stdout, stderr } = await execa(program, [...words, manPage()], {
      reject: false,
      env: { MANWIDTH: "80" },
    });
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    const text = withoutOverstrikes(stdout);
    for (const word of ["COMMANDS", "--users-file path|-", "EXIT STATUS", "keyctl list --source key.txt --count"]) {
      expect(text).toContain(word);
    }
  });
});
