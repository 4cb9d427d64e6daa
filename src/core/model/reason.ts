import { KeyctlError } from "./errors.ts";
import { KEY_LIKE } from "./redact-keys.ts";

const MAX_CHARACTERS = 500;

/**
 * A person's words about a change, for the history; null without words. Throws USAGE for a text that is too long or that
 * contains a key: whoever may read the history must learn no key from it.
 */
export function parseReason(text: string | null | undefined): string | null {
  const words = text?.trim().toWellFormed() ?? "";
  if (KEY_LIKE.test(words)) {
    throw new KeyctlError("USAGE", "the reason contains a key, so it is neither used nor repeated", {
      hint: "a reason is a few words about the change, such as 'quarterly rotation'",
    });
  }
  if (Array.from(words).length > MAX_CHARACTERS) {
    throw new KeyctlError("USAGE", `the reason is longer than ${MAX_CHARACTERS} characters`, {
      hint: "a reason is a few words about the change, such as 'quarterly rotation'",
    });
  }
  return words === "" ? null : words;
}
