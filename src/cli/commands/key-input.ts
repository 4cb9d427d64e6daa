import { isKeyctlError, KeyctlError } from "../../core/model/errors.ts";
import { NOT_TEXT } from "../../core/model/key-fault.ts";
import { parsedKey } from "../../core/model/parse-key.ts";
import { decodeText } from "../../files/decode-text.ts";
import type { Invocation } from "../invocation.ts";
import { cannotPrompt } from "../terminal/unanswered.ts";

/** The maximum size of a file or of standard input that holds one key. */
export const MAX_KEY_BYTES = 4 * 1024;
/** How often a person is asked for a key. */
const MAX_ATTEMPTS = 3;

/** A text that is no key, and whose fault the manager names, if the bytes are too many (possibly cut off) or no text. */
export function keyText(bytes: Uint8Array): string {
  return bytes.length > MAX_KEY_BYTES ? " ".repeat(bytes.length) : (decodeText(bytes) ?? NOT_TEXT);
}

/**
 * The key of `--stdin`. Whoever types it into a terminal is asked for it, and does not see it. Throws USAGE where nobody can
 * be asked.
 */
export async function readKeyInput(invocation: Invocation, question: string, instead: string): Promise<string> {
  const { terminal, stdinIsTerminal, readInput } = invocation;
  if (terminal.options.isInteractive) return askForKey(invocation, question);
  // A terminal would show what is typed.
  if (stdinIsTerminal) throw new KeyctlError("USAGE", cannotPrompt(terminal), { hint: instead });
  return keyText(await readInput(MAX_KEY_BYTES));
}

/** In place of the fault of an empty text that was read from standard input. */
export function emptyInput(instead: string): KeyctlError {
  return new KeyctlError("BAD_KEY_FORMAT", "nothing came on standard input, and a key is awaited there", {
    hint: instead,
  });
}

/**
 * Asks for a key, hidden; says what is wrong with it and asks again, a few times. The last answer may be wrong, too.
 * @param parse throws the fault of a text; repeats nothing of it
 */
export async function askForKey(
  { terminal, prompt }: Invocation,
  question: string,
  parse: (text: string) => unknown = parsedKey,
): Promise<string> {
  const { secret } = await prompt();
  for (let attempt = 1; ; attempt += 1) {
    const text = await secret(question);
    const fault = faultOf(text, parse);
    if (fault === undefined || attempt === MAX_ATTEMPTS) return text;
    terminal.warning(`${fault.message}; try again`);
  }
}

function faultOf(text: string, parse: (text: string) => unknown): KeyctlError | undefined {
  try {
    parse(text);
    return undefined;
  } catch (thrown) {
    if (isKeyctlError(thrown)) return thrown;
    throw thrown;
  }
}
