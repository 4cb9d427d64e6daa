import { isCi } from "../../core/model/ci.ts";
import { plainWords } from "../plain-words.ts";
import { isTerminal } from "./fd-output.ts";

/**
 * A key is often pasted right behind the command that asks for it. Until the question is there, the terminal would show it;
 * so it is silenced before anything else is loaded. What is typed stays in the terminal, and the question takes it.
 */

type Environment = Readonly<Record<string, string | undefined>>;

const OTHER_INPUTS = /^--(?:from-file|help|version|no-input)(?:=|$)/;

/** The result undoes this; undefined if the command asks for no key. */
export function hideInput(argv: readonly string[], environment: Environment): (() => void) | undefined {
  if (!asksForKey(argv) || isCi(environment) || !isTerminal(0) || !isTerminal(2)) return undefined;
  const { stdin } = process;
  // These end a process without a listener at once, and Node would not restore the terminal. `processEnd` listens soon.
  for (const signal of ["SIGHUP", "SIGQUIT"] as const) process.on(signal, () => {});
  try {
    stdin.on("error", () => {}).setRawMode(true);
  } catch {
    return undefined; // The terminal was closed.
  }
  return () => void stdin.setRawMode(false);
}

function asksForKey(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  const words = end === -1 ? argv : argv.slice(0, end);
  const verb = plainWords(words)[0]?.word;
  if (words.some((word) => OTHER_INPUTS.test(word))) return false;
  return verb === "save" || ((verb === "validate" || verb === "leaked") && words.includes("--stdin"));
}
