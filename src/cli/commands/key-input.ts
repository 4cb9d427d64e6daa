import { NOT_TEXT } from "../../core/model/key-fault.ts";
import { decodeText } from "../../files/decode-text.ts";

/** The maximum size of a file or of standard input that holds one key. */
export const MAX_KEY_BYTES = 4 * 1024;

/** A text that is no key, and whose fault the manager names, if the bytes are too many (possibly cut off) or no text. */
export function keyText(bytes: Uint8Array): string {
  return bytes.length > MAX_KEY_BYTES ? " ".repeat(bytes.length) : (decodeText(bytes) ?? NOT_TEXT);
}
