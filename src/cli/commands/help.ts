import type { Command } from "commander";
import { KeyctlError } from "../../core/model/errors.ts";
import { printable } from "../../core/text/printable.ts";
import { EXIT_CODE_MEANINGS } from "../exit-codes.ts";
import { laidOut } from "../help-format.ts";
import type { Invocation, Run } from "../invocation.ts";
import { commandsFor } from "../mistakes/command-mistake.ts";
import { VARIABLES } from "../variable-meanings.ts";
import { wrapped } from "../terminal/word-wrap.ts";
import { unlessReaderGone } from "../terminal/end-of-run.ts";

type Topic = (width: number) => string;

const TOPICS: Readonly<Record<string, Topic>> = {
  "exit-codes": (width) => `Exit codes, the same with and without --json:\n\n${laidOut(EXIT_CODE_MEANINGS, width)}`,
  environment: (width) =>
    [
      wrapped(
        "Environment variables. Each OPENROUTER_ variable has a _FILE form that names a file with the value. " +
          "Master keys are read from the first place that is there, in the order of this list.",
        width,
      ).join("\n"),
      laidOut(VARIABLES, width),
      wrapped(
        "KEYCTL_STORE and KEYCTL_MASTER_KEYS… that are set but empty are an error (exit 4): in CI, a missing secret " +
          "arrives as an empty string. An empty OPENROUTER_ variable counts as not set.",
        width,
      ).join("\n"),
    ].join("\n\n"),
};

const OTHER_TOPICS: readonly (readonly [words: RegExp, topic: string])[] = [
  [/^(?:exit|codes?|status|errors?)/i, "exit-codes"],
  [/^(?:env|vars?|variables?|config)/i, "environment"],
];

export function configureCommand(command: Command, run: Run, whole: () => Promise<Command>): void {
  const choices = Object.keys(TOPICS);
  const argument = command.createArgument("[topic]", "a command, or one of these").choices(choices);
  command.addArgument(argument.argParser((text: string) => text));
  command.action((topic: string) => run((invocation) => help(invocation, topic, whole))({}));
}

async function help(
  { terminal }: Invocation,
  topic: string,
  whole: () => Promise<Command>,
): Promise<KeyctlError | null> {
  const text = Object.hasOwn(TOPICS, topic) ? TOPICS[topic] : undefined;
  if (text === undefined) throw noHelp(topic, await whole());
  return unlessReaderGone(async () => {
    await terminal.result(text(terminal.columns ?? 80));
    return null;
  });
}

function noHelp(topic: string, { commands }: Command): KeyctlError {
  const message = `no help for '${printable(topic)}'`;
  const verbs = commands.map((command) => command.name());
  const topicMeant = OTHER_TOPICS.find(([words]) => words.test(topic))?.[1];
  if (topicMeant !== undefined) {
    const line = `keyctl help ${topicMeant}`;
    return new KeyctlError("USAGE", `${message}; did you mean '${line}'?`, { hint: line });
  }
  const [meant, ...others] = commandsFor(topic, [...verbs, ...Object.keys(TOPICS)]);
  if (meant === undefined || others.length > 0) {
    return new KeyctlError("USAGE", message, { hint: "keyctl --help   lists the commands and topics" });
  }
  const line = /^(?:--|help )/.test(meant) ? `keyctl ${meant}` : `keyctl help ${meant.split(" ")[0]}`;
  return new KeyctlError("USAGE", `${message}; did you mean '${line}'?`, { hint: line });
}
