import { KeyctlError, isKeyctlError } from "../../../core/model/errors.ts";
import { parseLeaked } from "../../../core/model/leaked-results.ts";
import type { LeakedKey } from "../../../core/model/leaked-results.ts";
import { counted } from "../../../core/text/format.ts";
import { SeenIds } from "../../bulk/seen-ids.ts";
import { isNotBlank, MAX_LINE_LENGTH, numberedLines } from "../../bulk/users-file.ts";
import type { Invocation } from "../../invocation.ts";
import { cannotPrompt, Declined } from "../../terminal/unanswered.ts";
import { askForKey } from "../key-input.ts";
import type { LeakedFlags } from "./leaked-flags.ts";

/** One key that was given, or what is wrong with its line. */
export interface LeakedLine {
  /** From 1; null for a key that was not read from a file. */
  readonly line: number | null;
  readonly given: LeakedKey | KeyctlError;
}

/** Above this number, a run without a terminal requires a permission. */
const MAX_UNASKED = 10;

/** The keys that were given, each once, as they arrive and in constant memory. A line that is neither a key nor a hash is an error. */
export async function* leakedLines(invocation: Invocation, flags: LeakedFlags): AsyncGenerator<LeakedLine> {
  const seen = new SeenIds();
  for await (const line of allLines(invocation, flags)) {
    if (isKeyctlError(line.given) || seen.add(line.given.hash)) yield line;
  }
}

async function* allLines(invocation: Invocation, { hash, stdin }: LeakedFlags): AsyncGenerator<LeakedLine> {
  for (const given of hash ?? []) yield { line: null, given };
  if (stdin !== true) return;
  if (invocation.terminal.options.isInteractive) {
    const text = await askForKey(invocation, "The key that leaked, or its SHA-256:", parseLeaked);
    yield { line: null, given: parsedLine(text, null) };
    return;
  }
  for await (const lines of numberedLines(invocation.inputStream(undefined, "one key per line"), MAX_LINE_LENGTH)) {
    for (const { number, text } of lines) {
      if (isNotBlank(text)) yield { line: number, given: parsedLine(text, number) };
    }
  }
}

/** The error repeats nothing of the line. */
function parsedLine(text: string, line: number | null): LeakedKey | KeyctlError {
  try {
    return parseLeaked(text);
  } catch (thrown) {
    if (!isKeyctlError(thrown)) throw thrown;
    return ofLine(thrown, line);
  }
}

/** The same error, with the number of its line. */
export function ofLine({ code, message, hint }: KeyctlError, line: number | null): KeyctlError {
  const whole = line === null ? message : `line ${line}: ${message}`;
  return new KeyctlError(code, whole, hint === null ? {} : { hint });
}

/**
 * The same lines, once they may be handled: one key always, and a few keys where nobody can be asked. Reads no further than it
 * must to know that. Throws CONFIRMATION_NEEDED.
 */
export async function permittedLines(
  { terminal, prompt, commandAgain }: Invocation,
  { hash, yes, maxKeys, dryRun }: LeakedFlags,
  lines: AsyncGenerator<LeakedLine>,
): Promise<AsyncGenerator<LeakedLine>> {
  if (yes === true || maxKeys !== undefined || dryRun === true) return lines;
  const first: LeakedLine[] = [];
  const mayAsk = hash !== undefined && terminal.options.isInteractive;
  for (let next = await lines.next(); next.done !== true; next = await lines.next()) {
    first.push(next.value);
    if (!mayAsk && first.length > MAX_UNASKED) break;
  }
  if (mayAsk && first.length > 1) {
    const { confirm } = await prompt();
    const question = `This disables ${counted(first.length, "key")} at OpenRouter, and replaces those that keyctl created. Go on?`;
    if (!(await confirm(question))) throw new Declined(commandAgain("--yes"));
  }
  if (mayAsk || first.length <= MAX_UNASKED) return resumed(first, lines);
  throw new KeyctlError(
    "CONFIRMATION_NEEDED",
    `more than ${MAX_UNASKED} keys would be disabled at OpenRouter, and keyctl ${cannotPrompt(terminal, hash === undefined, "the keys")}; nothing was changed`,
    { hint: commandAgain("--yes") },
  );
}

/** These lines, and then the rest. */
export async function* resumed(
  first: readonly LeakedLine[],
  rest: AsyncGenerator<LeakedLine>,
): AsyncGenerator<LeakedLine> {
  yield* first;
  yield* rest;
}
