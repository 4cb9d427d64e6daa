import { KeyctlError } from "./errors.ts";
import { holdsKey } from "./redact-keys.ts";
import { printable } from "../text/printable.ts";

const MAX_CHARACTERS = 500;
const HINT = "a reason is a few words about the change, such as 'quarterly rotation'";

/**
 * A person's words about a change, for the history; null without words. Throws USAGE for a text that is too long, that is not
 * one printable line, or that contains a key: whoever may read the history must learn no key from it.
 */
export function parseReason(text: string | null | undefined): string | null {
  const words = text?.trim() ?? "";
  if (holdsKey(words)) {
    throw new KeyctlError("USAGE", "the reason contains a key, so it is neither used nor repeated", { hint: HINT });
  }
  if (Array.from(words).length > MAX_CHARACTERS || printable(words) !== words) {
    throw new KeyctlError("USAGE", `a reason is one line of at most ${MAX_CHARACTERS} printable characters`, {
      hint: HINT,
    });
  }
  return words === "" ? null : words;
}
