import { decodeText } from "../../files/decode-text.ts";

/** What is read of a file or of standard input that is to hold one key. */
export const MAX_KEY_BYTES = 4 * 1024;

/** Text that is too long, and so perhaps cut, or that cannot be decoded holds no key; the manager says so. */
export function keyText(bytes: Uint8Array): string {
  return bytes.length > MAX_KEY_BYTES ? "" : (decodeText(bytes) ?? "");
}
