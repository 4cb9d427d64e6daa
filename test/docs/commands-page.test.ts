import { fileURLToPath } from "node:url";
import type { Command, Option } from "commander";
import { expect, it } from "vitest";
import { runProgram } from "../../src/cli/program.ts";
import { VERBS } from "../support/fixtures/verbs.ts";

/** docs/commands.md is made from the program's own tree of commands: `npm run docs` writes it, and a stale one fails here. */
const PAGE = fileURLToPath(new URL("../../docs/commands.md", import.meta.url));

const INTRODUCTION = `# Commands

<!-- Generated from the program by \`npm run docs\`; do not edit it by hand. -->

What the program's own help says: \`keyctl help <command>\`.`;
const OPTIONS_OF_ALL = `Pages with more: [finding keys](finding-keys.md) (sync, get, save, explain), [running a command](running-commands.md) (exec), [creating keys](provisioning.md) (provision),
[rotating keys](rotation.md) (rotate), [leaked keys](leaked-keys.md) (leaked), [checking keys](validation.md) (validate), [removing keys](removing-keys.md) (purge), [somebody leaves](blocking.md) (unblock), [the history](history.md) (history), [many users](many-users.md) (list, import,
bulk runs), [reconciling](reconcile.md), [master keys](master-keys.md) (rekey), [copying](copying.md) (copy),
[troubleshooting](troubleshooting.md) (doctor). Every command takes these options, and \`-h\`, \`--help\`:`;
/** Longer lines are broken by nobody: a page has no width. */
const COLUMNS = 10_000;

interface Documented {
  readonly program: Command;
  readonly command: Command;
  /** What stands below the options in its help: sentences, and examples. */
  readonly notes: string;
}

/** The tree with this command in it, as the program itself declares it. */
async function treeOf(verb: string): Promise<Documented> {
  let program: Command | undefined;
  const run = (built: Command) => {
    program = built;
    return () => async () => {};
  };
  const help = await runProgram([verb, "--help"], { version: "", columns: COLUMNS, run });
  const command = program?.commands.find((each) => each.name() === verb);
  if (program === undefined || command === undefined) throw new Error(`there is no command ${verb}`);
  const [, notes = ""] = /^Global Options:\n.*?\n\n(.*)$/ms.exec(help?.text ?? "") ?? [];
  return { program, command, notes };
}

function sectionOf({ command, notes }: Documented): string {
  const [text = "", below = ""] = notes.split("Examples:\n");
  const examples = below.replaceAll(/^ {2}/gm, "").trim();
  const words = command.usage().replace("[options]", "").trim();
  const parts = [
    `## ${command.name()}`,
    command.description(),
    fenced("text", `keyctl ${command.name()} [options]${words === "" ? "" : ` ${words}`}`),
    ...optionGroups(command).flatMap(([heading, options], _, groups) =>
      groups.length === 1 ? [tableOf(options)] : [heading, tableOf(options)],
    ),
    ...paragraphsOf(text),
    ...(examples === "" ? [] : [EXAMPLES, fenced("sh", examples)]),
  ];
  return parts.filter((part) => part !== "").join("\n\n");
}

/** The examples of the help are typed in a hundred situations; the pages of docs/ have those that are run. */
const EXAMPLES =
  "<!-- not run: examples of the help for any situation; that each is understood is tested, and the other pages run theirs -->";

/** Sentences as they are, and what is aligned in columns as it is. */
function paragraphsOf(text: string): readonly string[] {
  return text
    .trim()
    .split("\n\n")
    .filter((paragraph) => paragraph !== "")
    .map((paragraph) => (/^ {2}\S/m.test(paragraph) ? fenced("text", paragraph) : escaped(paragraph)));
}

function headingOf({ helpGroupHeading }: Option): string {
  return helpGroupHeading ?? "Options:";
}

/** The options of a command under their headings, in the order of its help. */
function optionGroups(command: Command): readonly (readonly [heading: string, options: readonly Option[]])[] {
  return [...command.createHelp().groupItems([...command.options], [...command.options], headingOf)];
}

function tableOf(options: readonly Option[]): string {
  if (options.length === 0) return "";
  return aligned([
    ["option", "meaning"],
    ...options.map(({ flags, description }) => [code(flags), escaped(description)]),
  ]);
}

/** As the formatter would. */
function aligned(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) => `| ${cells.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(" | ")} |`;
  const [titles = [], ...others] = rows;
  return [line(titles), line(widths.map((width) => "-".repeat(width))), ...others.map(line)].join("\n");
}

function code(text: string): string {
  return `\`${text.replaceAll("|", "\\|")}\``;
}

function escaped(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("<", "\\<");
}

function fenced(language: string, text: string): string {
  return `\`\`\`${language}\n${text}\n\`\`\``;
}

it("docs/commands.md is what the program says; `npm run docs` writes it anew", async () => {
  const trees: Documented[] = [];
  for (const verb of VERBS) trees.push(await treeOf(verb));
  const [{ program } = await treeOf("list")] = trees;
  const headings = [...new Set(trees.map(({ command }) => command.helpGroup()))];
  const contents = headings.map((heading) => {
    const commands = trees.flatMap(({ command }) => (command.helpGroup() === heading ? [command] : []));
    return [
      heading,
      commands.map((command) => [`[${command.name()}](#${command.name()})`, command.summary()]),
    ] as const;
  });
  const parts = [
    INTRODUCTION,
    ...contents.flatMap(([heading, rows]) => [heading, aligned([["command", "what it does"], ...rows])]),
    OPTIONS_OF_ALL,
    tableOf(program.options),
    ...trees.map(sectionOf),
  ];
  await expect(`${parts.join("\n\n")}\n`).toMatchFileSnapshot(PAGE);
});
