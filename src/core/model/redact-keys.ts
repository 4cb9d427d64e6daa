import { maskOf } from "./mask.ts";

/** Anything in a text that looks like an OpenRouter key of any kind and version. */
export const KEY_LIKE = /sk-or-(?:v\d+|mgmt)-[A-Za-z0-9_-]{8,}/;

/** The text with everything masked that looks like a key. */
export function withoutKeys(text: string): string {
  return text.replace(new RegExp(KEY_LIKE, "g"), (key) => maskOf(key.slice(-4)));
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
