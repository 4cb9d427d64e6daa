import { KeyctlError } from "../core/model/errors.ts";
import { splitAtDashes } from "./command-again.ts";
import { KEY_LIKE } from "../core/model/redact-keys.ts";

const URI_HINT =
  "it is in your shell's history now: change the password, and put the URI in KEYCTL_STORE (the destination of a copy: in KEYCTL_COPY_TO), or in a file that KEYCTL_STORE_FILE names";
const LEAKED_HINT =
  "it is in your shell's history now, too; keyctl leaked --stdin   asks for the key that leaked, and hides it";
/** Searched in lower case, which costs less than a pattern that ignores case. */
const SECRETS: readonly (readonly [pattern: RegExp, what: string, hint: string])[] = [
  [
    KEY_LIKE,
    "a key",
    "it is in your shell's history now: replace it at https://openrouter.ai/keys; keyctl save --user <id>   asks for a key and hides it",
  ],
  [/\*{8,}/, "the mask of a key", "a mask is not a key; keyctl save --user <id>   asks for the key and hides it"],
  [/:\/\/[^\s/]*:[^\s]+@/, "a URI with a password", URI_HINT],
  // Also with a missing slash, or a password with spaces.
  [/mongodb[a-z+]*(?::\/\/|:\/(?!\/)|:(?!\/)|\/\/)[^/:@]*:.*@/s, "a URI with a password", URI_HINT],
  [/[?&](?:\w*password|authmechanismproperties)=[^&]/, "a URI with a password", URI_HINT],
];

/**
 * Other users of the machine can read a command line. In the words after `--`, which are another program's, only a key is
 * looked for. Throws SECRET_IN_ARGV without repeating the secret.
 */
export function refuseSecrets(argv: readonly string[]): void {
  const [own] = splitAtDashes(argv);
  for (const [pattern, what, hint] of SECRETS) {
    const words = pattern === KEY_LIKE ? argv : own;
    if (words.some((word) => pattern.test(word.toLowerCase()) || pattern.test(decoded(word).toLowerCase()))) {
      throw new KeyctlError("SECRET_IN_ARGV", `there is ${what} on the command line, where other users can read it`, {
        hint: pattern === KEY_LIKE && own.includes("leaked") ? LEAKED_HINT : hint,
      });
    }
  }
}

/** Without percent-encoding, however often it was applied; an incomplete encoding stays. */
function decoded(word: string): string {
  const once = word.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return once === word ? word : decoded(once);
}
