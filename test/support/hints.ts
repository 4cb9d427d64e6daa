import type { Home } from "./home.ts";
import { inProcess } from "./in-process.ts";

const COMMAND = /\bkeyctl (?:[a-z]+|--)[^\n)]*?(?=\s{3}|\s(?:[|<>]|&&) |\)|$)/gm;

/** The words in the hints on this stderr that this version does not have: commands that do not parse, and flags that the help does not list. */
export async function unknownWordsIn(stderr: string, verb: string | undefined, home: Home): Promise<readonly string[]> {
  const hints = [...stderr.matchAll(/^hint: (.*(?:\n {6}.*)*)/gm)].map(([, hint]) => hint).join("\n");
  const unknown: string[] = [];
  for (const command of commandsIn(hints)) unknown.push(...(await unknownWordsOf(command, home)));
  return [...unknown, ...(await unlisted(hints.replaceAll(COMMAND, ""), verb, home))];
}

/** The keyctl commands in a text, each up to the end of its line, a pipe or a closing bracket. */
export function commandsIn(text: string): readonly string[] {
  return text.match(COMMAND) ?? [];
}

/** What this version does not have of a command: all of it, if it does not parse, and flags that its help does not list. */
export async function unknownWordsOf(command: string, home: Home): Promise<readonly string[]> {
  // Something in place of `<id>` and its like.
  const words = command.replaceAll(/<\w+>/g, "7").split(/\s+/).slice(1);
  const { code } = await inProcess(home, [...words, "--help"]);
  return [...(code === 0 ? [] : [command]), ...(await unlisted(command, words[0], home))];
}

async function unlisted(text: string, verb: string | undefined, home: Home): Promise<readonly string[]> {
  const flags = text.match(/(?<![\w-])--[a-z][a-z-]*/g) ?? [];
  if (flags.length === 0) return [];
  const help = await inProcess(home, verb === undefined || verb.startsWith("-") ? ["--help"] : [verb, "--help"]);
  return flags.filter((flag) => !help.stdout.includes(`${flag} `));
}
