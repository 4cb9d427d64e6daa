import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { EXIT_CODE_MEANINGS, exitCodeOf } from "../src/cli/exit-codes.ts";
import type { ErrorCode } from "../src/core/model/errors.ts";
import { commandsIn, unknownWordsOf } from "./support/fixtures/hints.ts";
import { emptyHome } from "./support/home/home.ts";
import { inProcess } from "./support/programs/in-process.ts";
import { logOf } from "./support/programs/keyctl.ts";
import { LINES } from "./support/fixtures/log-lines.ts";
import { VERBS } from "./support/fixtures/verbs.ts";

/** The README says nothing that this version does not do: what can be compared is compared. */

const README = textOf("README.md");
const ALL_VERBS: readonly string[] = [...VERBS, "help"];

function textOf(path: string): string {
  return readFileSync(fileURLToPath(new URL(`../${path}`, import.meta.url)), "utf8");
}

/** The rows of the table below this heading, in a chapter of the README; a cell without its blanks. */
function tableOf(chapter: string, heading: string): readonly (readonly string[])[] {
  const text = README.split(/^## /m).find((part) => part.startsWith(`${chapter}\n`)) ?? "";
  const table = text.split("\n\n").find((paragraph) => paragraph.startsWith(`| ${heading} `)) ?? "";
  const rows = table.split("\n").slice(2);
  return rows.map((row) =>
    row
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

/** What the fenced blocks of these languages hold. */
function blocksOf(...languages: readonly string[]): readonly string[] {
  return Array.from(README.matchAll(/^```(\w+)\n(.*?)^```$/gms))
    .filter(([, language = ""]) => languages.includes(language))
    .map(([, , block = ""]) => block);
}

/** A line with `<words>` in place of what differs; `<one|other>` says what there can be. */
function patternOf(line: string): RegExp {
  const parts = line.split(/<([^>]+)>/).map((part, index) => {
    if (index % 2 === 0) return part.replaceAll(/[.()[\]]/g, "\\$&");
    return part.includes("|") ? `(${part})` : ".+";
  });
  return new RegExp(`^${parts.join("")}$`);
}

async function helpOf(...words: readonly string[]): Promise<string> {
  const { code, stdout } = await inProcess(emptyHome(), words, { columns: 1000 });
  expect(code).toBe(0);
  return stdout;
}

describe("the exit codes of the README", () => {
  const rows = tableOf("Exit codes", "code");

  it("are those of the tool, in its words", () => {
    expect(rows.map(([code, meaning]) => [code, meaning])).toEqual(EXIT_CODE_MEANINGS);
  });

  it("name every error code beside its exit code", () => {
    const all = Array.from(
      textOf("src/core/model/errors.ts").matchAll(/^ {2}\| "(\w+)"/gm),
      ([, code]) => code as ErrorCode,
    );
    expect(all.length).toBeGreaterThan(20);
    const expected = all.map((code) => [String(exitCodeOf({ code })), code]);
    const terminated = [String(exitCodeOf({ code: "INTERRUPTED" }, "SIGTERM")), "INTERRUPTED"];
    const named = rows.flatMap(([exit = "", , codes = ""]) =>
      Array.from(codes.matchAll(/\w+/g), ([code]) => [exit, code]),
    );
    expect(named.map(String).toSorted()).toEqual([...expected, terminated].map(String).toSorted());
  });
});

it("the variables of the README are those of the tool, in its words", async () => {
  const help = await helpOf("help", "environment");
  const variables = Array.from(help.matchAll(/^ {2}(\w+(?:, \w+)*) +(.+)$/gm), ([, names = "", meaning]) => [
    names.replaceAll(/\w+/g, "`$&`"),
    meaning,
  ]);
  expect(variables.length).toBeGreaterThan(10);
  expect(tableOf("Configuration", "variable")).toEqual(variables);
});

describe("the commands of the README", () => {
  const commands = blocksOf("sh", "console").flatMap(commandsIn);
  const inText = Array.from(README.matchAll(/`(keyctl [^`]+)`/g), ([, command = ""]) => command);

  it("are there for every verb", () => {
    const verbs = [...commands, ...inText].map((command) => command.split(" ")[1] ?? "");
    expect([...new Set(verbs)].toSorted()).toEqual(ALL_VERBS.toSorted());
    expect(commands.length).toBeGreaterThan(20);
  });

  it.each([...new Set([...commands, ...inText])])("%s: is understood, and its flags exist", async (command) => {
    expect(await unknownWordsOf(command, emptyHome())).toEqual([]);
  });

  it.each(ALL_VERBS)("leave out no option of %s", async (verb) => {
    const help = await helpOf(verb === "help" ? "--help" : verb, "--help");
    const options = Array.from(help.matchAll(/^ {2}(?:(-\w), )?(--[a-z-]+)/gm), ([, short, long]) => [short, long]);
    expect(options.length).toBeGreaterThan(8);
    const named = options.flat().filter((option) => option !== undefined);
    expect(named.filter((option) => !new RegExp(`\`[^\`\n]*(?<![\\w-])${option}(?![\\w-])`).test(README))).toEqual([]);
  });
});

describe("what the README quotes", () => {
  it("is the Python script that opens a stored value", () => {
    expect(blocksOf("python")).toEqual([textOf("test/support/fixtures/open-stored-value.py")]);
  });

  it("are the log lines, each of them and no other", () => {
    const block = blocksOf("text").find((text) => text.startsWith("[KeyManager] ")) ?? "";
    const quoted = block.replaceAll("[KeyManager] ", "").trimEnd().split("\n").map(patternOf);
    const printed = LINES.flatMap(([, lines]) => lines);
    expect(printed.filter((line) => !quoted.some((pattern) => pattern.test(line)))).toEqual([]);
    expect(quoted.filter((pattern) => !printed.some((line) => pattern.test(line)))).toEqual([]);
  });

  it.each(["sync-from-file", "sync-from-database"])("is a session with the lines of golden/%s.log", (name) => {
    const [session = ""] = blocksOf("console");
    expect(logOf(session)).toContain(textOf(`test/golden/${name}.log`));
  });

  it("are scripts that npm has", () => {
    const { scripts } = JSON.parse(textOf("package.json")) as { scripts: Record<string, string> };
    const named = Array.from(README.matchAll(/npm run ([\w:-]+)/g), ([, name = ""]) => name);
    expect(named).toEqual(expect.arrayContaining(["bench", "check", "test:faults", "test:shipped"]));
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
  });

  it("is the whole of src/, one line each", () => {
    const [tree = ""] = blocksOf("text").filter((text) => text.includes("\nsrc/\n"));
    const named = Array.from(tree.matchAll(/^ {2}([a-z]+(?:\.ts|\/)) /gm), ([, name = ""]) => name);
    const folder = fileURLToPath(new URL("../src/", import.meta.url));
    const there = readdirSync(folder, { withFileTypes: true }).map((entry) =>
      entry.isDirectory() ? `${entry.name}/` : entry.name,
    );
    expect(named.toSorted()).toEqual(there.toSorted());
  });
});
