import { ApiKey } from "./api-key.ts";
import { KeyctlError } from "./errors.ts";
import { keyFaultOf, NO_KEY_AT_ALL } from "./key-fault.ts";

/** Throws BAD_KEY_FORMAT, KEY_IS_MASKED. */
export function parsedKey(key: string | ApiKey): ApiKey {
  if (typeof key !== "string") return key;
  const parsed = ApiKey.parse(key);
  if (parsed !== undefined) return parsed;
  if (ApiKey.isMask(key)) {
    throw new KeyctlError("KEY_IS_MASKED", "this is the mask of a key, not the key", {
      hint: "keyctl get --user <id> --reveal   prints a bare key",
    });
  }
  const fault = keyFaultOf(key);
  const what = fault === NO_KEY_AT_ALL ? "" : `: it ${fault}`;
  throw new KeyctlError("BAD_KEY_FORMAT", `this is not a valid OpenRouter key${what}`, {
    hint: "a key is sk-or-v1- and 8 to 200 letters, digits, dashes or underscores; see https://openrouter.ai/keys",
  });
}
