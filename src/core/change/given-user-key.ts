import type { ApiKey } from "../model/api-key.ts";
import { KeyctlError } from "../model/errors.ts";
import { isManagementKey } from "../model/management-key.ts";
import { parsedKey } from "../model/parse-key.ts";
import { userFlag } from "../text/shell-quote.ts";
import type { UserId } from "../model/user-id.ts";
import type { Warning } from "../model/warning.ts";

const ORIGIN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/;

/** A key that a person gives to a user. Throws BAD_KEY_FORMAT, KEY_IS_MASKED, MANAGEMENT_KEY_AS_USER_KEY. */
export function givenUserKey(key: string | ApiKey, user: UserId, managementKeyHashes: ReadonlySet<string>): ApiKey {
  if (!isManagementKey(key, managementKeyHashes)) return parsedKey(key);
  throw new KeyctlError("MANAGEMENT_KEY_AS_USER_KEY", "this is the management key, which no user may have", {
    hint: `save a key from https://openrouter.ai/keys, or   keyctl provision ${userFlag(user)}   to create one`,
  });
}

/** Throws USAGE, with this hint, for a text that cannot be the origin of a key. */
export function requireOrigin(source: string, hint: string): void {
  if (ORIGIN.test(source)) return;
  throw new KeyctlError("USAGE", "a source is 1 to 32 letters, digits, dots, dashes or underscores", {
    hint,
  });
}

export function shapeWarnings({ hasUsualShape }: ApiKey): readonly Warning[] {
  if (hasUsualShape) return [];
  const message = "the key does not look like one that OpenRouter creates (sk-or-v1- and 64 hex characters)";
  return [{ code: "KEY_SHAPE", message }];
}
