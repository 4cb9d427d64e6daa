import { shellQuote } from "../core/text/shell-quote.ts";

/** The command lines that hints print: as printed, they work on the store of this run. */

/** The same command line with further flags; `instead` of an option that was given, with its value. */
export type CommandAgain = (flags: string, instead?: string) => string;

export function commandAgain(argv: readonly string[]): CommandAgain {
  return (flags, instead) => {
    const kept = argv.filter(
      (word, index) =>
        instead === undefined || (word !== instead && argv[index - 1] !== instead && !word.startsWith(`${instead}=`)),
    );
    return ["keyctl", ...kept.map(shellQuote), flags].filter((word) => word !== "").join(" ");
  };
}

/** Adds the --store that was given to each command in a text; `verbs` are the commands that use a store. */
export function withStoreFlag(store: string | undefined, verbs: readonly string[]): (text: string) => string {
  if (store === undefined) return (text) => text;
  const command = new RegExp(String.raw`(?<![\w-])keyctl (?:${verbs.join("|")})(?![\w-])`, "g");
  const flag = ` --store ${shellQuote(store)}`;
  return (text) => (text.includes("--store") ? text : text.replace(command, (found) => found + flag));
}
