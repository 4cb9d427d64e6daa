import { passwordsIn, SECRET_VARIABLES } from "./redact-keys.ts";

type Environment = Readonly<Record<string, string | undefined>>;

const NOT_FOR_CHILDREN: ReadonlySet<string> = new Set([...SECRET_VARIABLES, "KEYCTL_STORE"]);
const PROXY = /_proxy$/i;
/** The user and the password of a proxy, even if their special characters are not escaped. */
const USER_AND_PASSWORD = /^([a-z][a-z0-9+.-]*:\/\/)?.*@/is;

/** Where keyctl reads a secret that a variable does not hold itself. */
const PLACES_OF_SECRETS: ReadonlySet<string> = new Set([
  ...[...NOT_FOR_CHILDREN].map((name) => `${name}_FILE`),
  "KEYCTL_MASTER_KEYS_COMMAND",
  "KEYCTL_KEY_FILE",
  // Of systemd: master keys may be there.
  "CREDENTIALS_DIRECTORY",
]);

/**
 * The environment of a command that gets one user's key in the variable `name`: without secrets, their places, and other
 * variables with the value of a secret.
 */
export function environmentForCommand(environment: Environment, name: string, key: string): Environment {
  const secrets = secretValuesIn(environment);
  const rest = Object.entries(environmentForChildren(environment)).filter(
    ([other, value = ""]) => !PLACES_OF_SECRETS.has(other) && !holdsSecret(value, secrets),
  );
  return { ...Object.fromEntries(rest), [name]: key };
}

/** The environment of a child process: without keyctl's secrets, and without the credentials of a proxy. */
export function environmentForChildren(environment: Environment): Environment {
  const rest = Object.entries(environment).filter(([name]) => !NOT_FOR_CHILDREN.has(name));
  return Object.fromEntries(
    rest.map(([name, value]) => [name, PROXY.test(name) ? value?.replace(USER_AND_PASSWORD, "$1") : value]),
  );
}

/** A shorter secret is a word that other variables may well have. */
const MIN_SECRET_LENGTH = 8;
/** A shorter secret may be a part of another word, such as `postgres`. */
const MIN_PART_LENGTH = 12;
const MANAGEMENT_KEYS = ["OPENROUTER_PROVISIONING_KEY", "OPENROUTER_MANAGEMENT_KEY"] as const;
const URIS = ["KEYCTL_STORE", "MONGODB_URI", "MONGO_URI", "KEYCTL_COPY_TO"] as const;
/** In a JWK. */
const MASTER_KEY = /"k"\s*:\s*"([A-Za-z0-9_-]{43})/g;

/** The secrets of keyctl that variables hold. A user's key is none of them: the command gets one. */
function secretValuesIn(environment: Environment): readonly string[] {
  const masterKeys = environment["KEYCTL_MASTER_KEYS"] ?? "";
  const values = [
    ...MANAGEMENT_KEYS.map((name) => environment[name] ?? ""),
    ...URIS.flatMap((name) => passwordsIn(environment[name] ?? "")),
    masterKeys,
    ...Array.from(masterKeys.matchAll(MASTER_KEY), ([, key = ""]) => key),
  ];
  return values.map((value) => value.trim()).filter((value) => value.length >= MIN_SECRET_LENGTH);
}

function holdsSecret(value: string, secrets: readonly string[]): boolean {
  return secrets.some(
    (secret) =>
      value.trim() === secret ||
      (secret.length >= MIN_PART_LENGTH && value.includes(secret)) ||
      passwordsIn(value).includes(secret),
  );
}
