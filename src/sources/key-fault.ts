import { ApiKey } from "../core/model/api-key.ts";

const VISIBLE = /[^\p{White_Space}\p{Default_Ignorable_Code_Point}]/u;
const QUOTED = /^["'`\u2018\u201C](.*)["'`\u2019\u201D]$/u;
/** A reference that a shell, a CI system or a secret manager replaces with a value: `$NAME`, `%NAME%`, `${NAME}`, `{{ NAME }}`, `op://…`. */
const REFERENCE = /^\$\w+$|^%\w+%$|\$\{|\{\{|^(?:op|vault|secrets?|keyring|ref\+\w+):\/\//;
const OTHER_PROVIDER = /^(?:sk-(?!or-)|AIza|gsk_|xai-|hf_|r8_|pplx-)[\w-]{8,}$/;

/** Why a text is not one key: completes a sentence that begins with its place. Repeats nothing of the text. */
export function keyFaultOf(text: string): string {
  const lines = text.split(/\r\n|[\r\n]/).filter((line) => VISIBLE.test(line));
  if (lines.length === 0) return "is empty";
  if (lines.length === 2) return "holds two lines";
  if (lines.length > 2) return `holds ${lines.length} lines`;
  const line = text.trim();
  if (ApiKey.isMask(line)) return "holds the mask of a key";
  if (ApiKey.parse(QUOTED.exec(line)?.[1] ?? "") !== undefined) return "holds a key in quotes";
  if (REFERENCE.test(line)) return "holds an unresolved reference instead of a key";
  if (OTHER_PROVIDER.test(line)) return "holds a key of another provider";
  return "holds something other than one valid key";
}
