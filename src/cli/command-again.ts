import { shellQuote } from "../core/text/shell-quote.ts";

/** The command lines that hints print: as printed, they work on the store of this run. */

/** The words before and after the first `--`. Those after it are no options. */
export function splitAtDashes(argv: readonly string[]): readonly [before: readonly string[], after: readonly string[]] {
  const at = argv.indexOf("--");
  return at === -1 ? [argv, []] : [argv.slice(0, at), argv.slice(at + 1)];
}

/** The same command line with further flags; `instead` of an option that was given, with its value. */
export type CommandAgain = (flags: string, instead?: string) => string;

export function commandAgain(argv: readonly string[]): CommandAgain {
  return (flags, instead) => {
    const [before, after] = splitAtDashes(argv);
    const kept = before.filter(
      (word, index) =>
        instead === undefined || (word !== instead && before[index - 1] !== instead && !word.startsWith(`${instead}=`)),
    );
    const rest = after.length === 0 ? [] : ["--", ...after.map(shellQuote)];
    return ["keyctl", ...kept.map(typedAgain), flags, ...rest].filter((word) => word !== "").join(" ");
  };
}

/** A shell's `<(command)` is a pipe, which nothing can open later. */
function typedAgain(word: string): string {
  return word.replace(/(?:\/dev|\/proc\/self)\/fd\/\d+$/, "") === word ? shellQuote(word) : "<(…)";
}

/** For a store that is missing: the same command with --create, if it has this option, or a command that only creates. */
export function creationHint(
  argv: readonly string[],
  { kind, name, from }: { readonly kind: string; readonly name: string; readonly from: string },
  hasCreate: boolean,
): string {
  if (hasCreate) return `${commandAgain(argv)("--create")}   creates it; or check ${from}`;
  const store = from === "--store" ? ` --store ${kind === "sqlite" ? shellQuote(name) : "<uri>"}` : "";
  return `check ${from}; keyctl rekey --init${store}   makes a new store there`;
}

/** Adds the --store that was given to each command in a text; `verbs` are the commands that use a store. */
export function withStoreFlag(store: string | undefined, verbs: readonly string[]): (text: string) => string {
  if (store === undefined) return (text) => text;
  const command = new RegExp(String.raw`(?<![\w-])keyctl (?:${verbs.join("|")})(?![\w-])`, "g");
  const flag = ` --store ${shellQuote(store)}`;
  return (text) => (text.includes("--store") ? text : text.replace(command, (found) => found + flag));
}
