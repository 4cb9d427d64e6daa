import type { Command } from "commander";
import { printable } from "../../core/text/printable.ts";
import { closest } from "../../core/text/closest.ts";
import { operandsOf } from "./option-mistakes.ts";
import { commandMeant, OTHER_WORDS } from "./other-words.ts";
import type { UsageMistake } from "./usage-mistake.ts";

/** A word in the place of the command that is none. */
export function commandMistake(words: readonly string[], program: Command, verbs: readonly string[]): UsageMistake {
  const [{ index, word } = { index: 0, word: "" }] = operandsOf(words, program.options);
  const message = `unknown command '${printable(word)}'`;
  if (word === "upgrade") {
    return { message, hint: "keyctl --version   shows this version; docs/upgrading.md explains how to upgrade" };
  }
  const [meaning, ...others] = commandsFor(word, verbs);
  if (meaning === undefined) return { message };
  if (others.length > 0) {
    return { message: `${message}; did you mean ${[meaning, ...others].map((other) => `'${other}'`).join(" or ")}?` };
  }
  const meant = verbs.includes(meaning) && commandMeant(word) === undefined ? meaning : `keyctl ${meaning}`;
  const corrected = words.toSpliced(index, 1, ...meaning.split(" "));
  return {
    message: `${message}; did you mean '${meant}'?`,
    corrected: meaning === "exec" ? forUser(corrected) : corrected,
  };
}

/** `run alice -- node`: `exec` takes any words for its command's, and they stand behind the dashes. */
function forUser(words: readonly string[]): readonly string[] {
  const dashes = words.indexOf("--");
  const [, user, ...more] = words.slice(0, dashes).filter((word) => !word.startsWith("-"));
  if (dashes === -1 || user === undefined || more.length > 0) return words;
  return words.toSpliced(words.indexOf(user), 1, "--user", user);
}

/**
 * What a word means, with options: by its meaning, else by its letters; several if they are equally near. **Invariant:** no
 * letters lead to what removes keys, but those of `purge` itself: `look` is near `lock`, and `clean` near nothing.
 */
export function commandsFor(word: string, verbs: readonly string[]): readonly string[] {
  const plain = word.toLowerCase();
  const meaning = verbs.includes(plain) ? plain : commandMeant(word);
  if (meaning !== undefined) return [meaning];
  const near = closest(plain, [...verbs, ...OTHER_WORDS]);
  const meanings = near.map((other) => (verbs.includes(other) ? other : (commandMeant(other) ?? other)));
  return meanings.some((each, index) => each.startsWith("purge") && near[index] !== "purge")
    ? []
    : [...new Set(meanings)];
}
