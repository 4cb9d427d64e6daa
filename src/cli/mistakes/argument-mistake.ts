import type { Command } from "commander";
import { MASK_LIKE } from "../../core/model/mask.ts";
import { looksLikeKey } from "../../core/model/user-id.ts";
import { printable } from "../../core/text/printable.ts";
import { userFlag } from "../../core/text/shell-quote.ts";
import { isUserNamed, operandsOf, optionWords } from "./option-mistakes.ts";
import { SWITCH_VALUE, switchWithValue } from "./switch-value.ts";
import type { KnownOption, Operand } from "./option-mistakes.ts";
import type { UsageMistake, Word } from "./usage-mistake.ts";

const HASH = /^[0-9a-f]{64}$/i;
/** Options that a word without an option may be meant for, the first that a command has. */
const FOR_WORDS: readonly (readonly [option: string, isFor: (word: string) => boolean])[] = [
  ["--hash", (word) => HASH.test(word)],
  ["--to", (word) => /^(?:sqlite|mongodb(?:\+srv)?):/.test(word)],
  ["--csv", (word) => /\.[ct]sv$/i.test(word)],
  ["--jsonl", (word) => /\.(?:jsonl|ndjson)$/i.test(word)],
  ["--user", () => true],
];

/** Words that belong to no option, where a command takes options only. A user id is meant where it takes one. */
export function argumentMistake(words: readonly string[], program: Command): UsageMistake {
  const [verb, ...given] = operandsOf(words, [...program.options, ...commandIn(words, program).options]);
  const command = program.commands.find((each) => each.name() === verb?.word);
  const extra = given.slice(command?.registeredArguments.length ?? 0);
  const [first] = extra;
  if (command === undefined || first === undefined) return { message: "too many arguments" };
  const secret = extra.find(({ word }) => looksLikeKey(word) || MASK_LIKE.test(word));
  if (secret !== undefined) {
    return { message: "an argument looks like a key", hint: "keyctl save --user <id>   asks for a key and hides it" };
  }
  if (extra.some(({ word }) => word === "")) return { message: "unexpected empty argument" };
  const behindSwitch = extra.find(
    ({ word, index }) => SWITCH_VALUE.test(word) && (words[index - 1] ?? "").startsWith("-"),
  );
  if (behindSwitch !== undefined) {
    const index = behindSwitch.index - 1;
    return switchWithValue(words, { index, length: 2, name: words[index] ?? "", value: behindSwitch.word });
  }
  const noun = nounMistake(words, command, first);
  if (noun !== undefined) return noun;
  const option = optionFor(first.word, command);
  if (option === undefined) return whereUsersAre(words, command, first.word);
  // A further word of a command for one user may be a key: it is not repeated.
  const takesMany = option.long !== "--user" || command.options.some(({ long }) => long === "--users-file");
  if (isUserNamed(words) && option.long === "--user") {
    return {
      message: takesMany
        ? unexpected(extra.map(({ word }) => word))
        : "unexpected argument: this command is for one user",
    };
  }
  const named = takesMany ? extra : [first];
  const meaning = named.map(({ word }) => flagWith(option, word)).join(" ");
  return {
    message: `${unexpected(named.map(({ word }) => word))}; did you mean ${meaning}?`,
    corrected: words.flatMap((word, index): readonly Word[] => {
      if (named.some((each) => each.index === index)) return optionWords(option, word);
      return word === "--" || extra.some((each) => each.index === index) ? [] : [word];
    }),
  };
}

/** `create key alice`, `get users`, `validate all`: words of other tools that are no user here. */
function nounMistake(words: readonly string[], command: Command, { index, word }: Operand): UsageMistake | undefined {
  const message = unexpected([word]);
  const isAll = /^(?:all|everyone|everybody)$/i.test(word);
  if (isAll && !isUserNamed(words) && command.options.some(({ long }) => long === "--all")) {
    return { message: `${message}; did you mean --all?`, corrected: words.toSpliced(index, 1, "--all") };
  }
  if (!/^(?:(?:api-?)?keys?|users?)$/i.test(word)) return undefined;
  const isList = command.name() === "get" && word.endsWith("s") && !isUserNamed(words);
  if (isList && operandsOf(words, command.options).length === 2) {
    return { message: `${message}; did you mean 'keyctl list'?`, corrected: ["list"] };
  }
  return { message: `${message}; omit it`, corrected: words.toSpliced(index, 1) };
}

/** `list` is about all users. */
function whereUsersAre(words: readonly string[], command: Command, word: string): UsageMistake {
  const message = unexpected([word]);
  if (command.name() !== "list") return { message };
  return { message: `${message}; keyctl list is about all users`, corrected: getOf(words, command.name(), word) };
}

/** The command line of `get` for a user whom `list` does not take. */
export function getOf(words: readonly string[], verb: string, user: string): readonly Word[] {
  const named = /^[-=]/.test(user) ? [`--user=${user}`] : ["--user", user];
  const others = words.filter(
    (word) => word !== verb && word !== user && word !== "--" && !/^(?:-u|--user)/.test(word),
  );
  return ["get", ...named, "--stored", ...others];
}

function commandIn(words: readonly string[], program: Command): Command {
  const [verb] = operandsOf(words, program.options);
  return program.commands.find((each) => each.name() === verb?.word) ?? program;
}

function optionFor(word: string, command: Command): KnownOption | undefined {
  for (const [name, isFor] of FOR_WORDS) {
    const option = isFor(word) ? command.options.find(({ long }) => long === name) : undefined;
    if (option !== undefined) return option;
  }
  return undefined;
}

function flagWith(option: KnownOption, word: string): string {
  return option.long === "--user" ? userFlag(word) : `${option.long} ${printable(word)}`;
}

function unexpected(words: readonly string[]): string {
  const quoted = words.map((word) => `'${printable(word)}'`);
  return words.length === 1 ? `unexpected argument ${quoted[0]}` : `unexpected arguments ${quoted.join(" and ")}`;
}
