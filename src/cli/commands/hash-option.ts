import { KeyctlError } from "../../core/model/errors.ts";
import { KEY_HASH } from "../../core/model/key-hash.ts";

/** The value of --hash. Throws USAGE. */
export function parseHash(text: string): string {
  const hash = text.toLowerCase();
  if (KEY_HASH.test(hash)) return hash;
  throw new KeyctlError("USAGE", "--hash takes the 64 hex characters of a SHA-256", {
    hint: "keyctl get --user <id> --stored --json   shows a key_hash",
  });
}
