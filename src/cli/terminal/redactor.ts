import { passwordsIn, SECRET_VARIABLES, withoutKeys } from "../../core/model/redact-keys.ts";

/**
 * The second safety net after `ApiKey`: all text for stdout and stderr passes here last. Nothing should ever be caught here;
 * if something is, the output shows a mask and not a key.
 */
const PATTERNS: readonly (readonly [pattern: RegExp, replacement: (match: string) => string])[] = [
  [/"k\\?":\s*\\?"[A-Za-z0-9_-]{43}/g, (match) => `${match.slice(0, -43)}***`],
  [/:\/\/[^\s:/]*:[^\s/"]+(?=@)/g, (match) => `${match.slice(0, match.indexOf(":", "://".length))}:***`],
];
const SHORTEST_SECRET = 8;
/** The URI of a store without a password, which may be shown. */
const OPEN_URI = /^(?:sqlite:|mongodb(?:\+srv)?:\/\/)[^@?]*$/i;

export type Redactor = (text: string) => string;

/** Hides keys, master keys in a JWK, passwords in URIs and these secrets. */
export function redactor(secrets: readonly string[]): Redactor {
  const known = secrets
    .map((secret) => secret.trim())
    .filter((secret) => secret.length >= SHORTEST_SECRET && !OPEN_URI.test(secret))
    .toSorted((one, other) => other.length - one.length);
  return (text) =>
    PATTERNS.reduce(
      (shown, [pattern, replacement]) => shown.replace(pattern, replacement),
      known.reduce((shown, secret) => shown.replaceAll(secret, "***"), withoutKeys(text)),
    );
}

/** Of the secrets in these variables, and of the passwords in URIs. */
export function environmentRedactor(environment: Readonly<Record<string, string | undefined>>): Redactor {
  const secrets = SECRET_VARIABLES.map((name) => environment[name] ?? "");
  return redactor([...secrets, ...[...secrets, environment["KEYCTL_STORE"] ?? ""].flatMap(passwordsIn)]);
}
