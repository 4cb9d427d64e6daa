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

const NOT_FOR_CHILDREN: ReadonlySet<string> = new Set([...SECRET_VARIABLES, "KEYCTL_STORE"]);
const PROXY = /_proxy$/i;
/** The user and the password of a proxy, even if their special characters are not escaped. */
const USER_AND_PASSWORD = /^([a-z][a-z0-9+.-]*:\/\/)?.*@/is;

/** Where keyctl reads a secret that a variable does not hold itself. */
const PLACES_OF_SECRETS: readonly string[] = [
  ...[...NOT_FOR_CHILDREN].map((name) => `${name}_FILE`),
  "KEYCTL_MASTER_KEYS_COMMAND",
  "KEYCTL_KEY_FILE",
];

/** The environment of a command that gets one user's key in the variable `name`, and neither secrets nor their places. */
export function environmentForCommand(
  environment: Readonly<Record<string, string | undefined>>,
  name: string,
  key: string,
): Readonly<Record<string, string | undefined>> {
  const places = new Set(PLACES_OF_SECRETS);
  const rest = Object.entries(environmentForChildren(environment)).filter(([other]) => !places.has(other));
  return { ...Object.fromEntries(rest), [name]: key };
}

/** The environment of a child process: without keyctl's secrets, and without the credentials of a proxy. */
export function environmentForChildren(
  environment: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string | undefined>> {
  const rest = Object.entries(environment).filter(([name]) => !NOT_FOR_CHILDREN.has(name));
  return Object.fromEntries(
    rest.map(([name, value]) => [name, PROXY.test(name) ? value?.replace(USER_AND_PASSWORD, "$1") : value]),
  );
}
