import { KeyctlError } from "../../core/model/errors.ts";

/** The value of --hash. Throws USAGE. */
export function parseHash(text: string): string {
  if (/^[0-9a-fA-F]{64}$/.test(text)) return text.toLowerCase();
  throw new KeyctlError("USAGE", "--hash takes the 64 hex characters of a SHA-256", {
    hint: "keyctl get --user <id> --stored --json   shows a key_hash",
  });
}
