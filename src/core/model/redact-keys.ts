import { maskOf } from "./mask.ts";

/** Anything in a text that looks like an OpenRouter key of any kind and version. In upper case, it is still the key. */
export const KEY_LIKE = /sk-or-(?:v\d+|mgmt|management|prov|provisioning)-[A-Za-z0-9_-]{8,}/i;
const EACH_KEY = new RegExp(KEY_LIKE, "gi");
/** What a line that is wrapped or a copy from a page puts into a key. */
const GAPS = /[\p{White_Space}\p{Cc}\p{Default_Ignorable_Code_Point}]+/gu;

/** The text with everything masked that looks like a key. */
export function withoutKeys(text: string): string {
  return text.replace(EACH_KEY, (key) => maskOf(key.slice(-4)));
}

/** Whether a text contains what looks like a key, in one piece or with gaps in it. */
export function holdsKey(text: string): boolean {
  return KEY_LIKE.test(text) || KEY_LIKE.test(withoutGaps(text));
}

/** The text without white space, control characters and characters that are not seen. */
export function withoutGaps(text: string): string {
  return text.replace(GAPS, "");
}

/** Variables that hold a secret: no child process receives them, and their values are never printed. */
export const SECRET_VARIABLES: readonly string[] = [
  "OPENROUTER_API_KEY",
  "OPENROUTER_PROVISIONING_KEY",
  "OPENROUTER_MANAGEMENT_KEY",
  "KEYCTL_MASTER_KEYS",
  "MONGODB_URI",
  "MONGO_URI",
  "KEYCTL_COPY_TO",
];

/** The password in a URI, as written and decoded, even if its special characters are not escaped. */
export function passwordsIn(uri: string): readonly string[] {
  const password = /:\/\/[^:]*:(?<password>.*)@/s.exec(uri)?.groups?.["password"];
  if (password === undefined) return [];
  try {
    return [password, decodeURIComponent(password)];
  } catch {
    return [password];
  }
}
