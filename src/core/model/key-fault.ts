import { ApiKey } from "./api-key.ts";

const VISIBLE = /[^\p{White_Space}\p{Default_Ignorable_Code_Point}]/u;
const QUOTED = /^["'`\u2018\u201C](.*)["'`\u2019\u201D]$/u;
/** A reference that a shell, a CI system or a secret manager replaces with a value: `$NAME`, `%NAME%`, `${NAME}`, `{{ NAME }}`, `op://…`. */
const REFERENCE = /^\$\w+$|^%\w+%$|\$\{|\{\{|^(?:op|vault|secrets?|keyring|ref\+\w+):\/\//;
const ASSIGNMENT = /^(export\s+|set\s+|\$env:)?[A-Za-z_]\w*(?:\s*=\s*|:\s+)\S/i;
const BEARER = /^(?:authorization:\s*)?bearer\s/i;
const OTHER_OF_OPENROUTER = /^sk-or-(?!v\d+-)[a-z]+-/i;
export const NO_KEY_AT_ALL = "holds something other than one valid key";
/** In place of bytes that are no text. */
export const NOT_TEXT = "\uFFFD";
const LONGEST = 4 * 1024;
const OTHER_PROVIDER = /^(?:sk-(?!or-)|AIza|gsk_|xai-|hf_|r8_|pplx-)[\w-]{8,}$/;

/** Why a text is not one key: completes a sentence that begins with its place. Repeats nothing of the text. */
export function keyFaultOf(text: string): string {
  if (text.length > LONGEST) return "is longer than 4 KiB";
  if (text.includes(NOT_TEXT)) return "is not valid UTF-8 or UTF-16 text";
  if (text.includes("\0")) return isWide(text) ? "is UTF-16 text without a byte order mark" : "holds a NUL byte";
  const lines = text.split(/\r\n|[\r\n]/).filter((line) => VISIBLE.test(line));
  if (lines.length === 0) return "is empty";
  if (lines.length === 2) return "holds two lines";
  if (lines.length > 2) return `holds ${lines.length} lines`;
  const line = text.trim();
  if (ApiKey.isMask(line)) return "holds the mask of a key";
  if (ApiKey.parse(QUOTED.exec(line)?.[1] ?? "") !== undefined) return "holds a key in quotes";
  if (REFERENCE.test(line)) return "holds an unresolved reference instead of a key";
  if (BEARER.test(line)) return "holds `Bearer` before the key";
  const assignment = ASSIGNMENT.exec(line);
  if (assignment !== null)
    return assignment[1] === undefined
      ? "holds NAME=… instead of the key alone"
      : "holds a shell command instead of the key alone";
  if (OTHER_OF_OPENROUTER.test(line)) return "holds another kind of OpenRouter key";
  if (/^sk-or-v\d+-/i.test(line) && !line.startsWith("sk-or-v1-"))
    return "holds a key in upper case or of another version";
  if (OTHER_PROVIDER.test(line)) return "holds a key of another provider";
  return NO_KEY_AT_ALL;
}

/** ASCII in UTF-16: every other byte is NUL, and no other one. */
function isWide(text: string): boolean {
  return /^(?:[^\0]\0)+$|^(?:\0[^\0])+$/.test(text);
}
