import { decodeText } from "../../files/decode-text.ts";

/** The maximum size of a file or of standard input that holds one key. */
export const MAX_KEY_BYTES = 4 * 1024;

/**
 * Empty if the text is too long (possibly cut off) or cannot be decoded. The manager then reports that it is no key.
 */
export function keyText(bytes: Uint8Array): string {
  return bytes.length > MAX_KEY_BYTES ? "" : (decodeText(bytes) ?? "");
}
