import { KeyctlError } from "../core/model/errors.ts";
import { ManagementKey, managementKeyHash } from "../core/model/management-key.ts";
import { secret, secretsAtHand } from "./variables.ts";
import type { Environment } from "./variables.ts";

/** The older name, and OpenRouter's present name. */
const VARIABLES = ["OPENROUTER_PROVISIONING_KEY", "OPENROUTER_MANAGEMENT_KEY"] as const;
export const MANAGEMENT_KEY_VARIABLES: readonly string[] = VARIABLES.flatMap((name) => [name, `${name}_FILE`]);

/**
 * Undefined if not set. Both names are read; two different values are an error. Throws CONFIG_CONFLICT, CONFIG_INVALID.
 */
export function managementKeyText(environment: Environment): string | undefined {
  const values = VARIABLES.flatMap((name) => secret(environment, name)?.trim() || []);
  if (new Set(values).size > 1) {
    throw new KeyctlError("CONFIG_CONFLICT", `${VARIABLES.join(" and ")} hold different keys`, {
      hint: `unset ${VARIABLES[0]}   it is the older name`,
    });
  }
  return values[0];
}

/** As `managementKeyText`. Also throws CONFIG_INVALID for an invalid key. */
export function managementKey(environment: Environment): ManagementKey | undefined {
  const text = managementKeyText(environment);
  if (text === undefined) return undefined;
  const key = ManagementKey.parse(text);
  if (key !== undefined) return key;
  throw new KeyctlError("CONFIG_INVALID", `${VARIABLES.join(" or ")} does not hold a management key`, {
    hint: "create one at https://openrouter.ai/settings/management-keys",
  });
}

/** From both names and their files, even if they conflict: errors are reported where the key is used. */
export function managementKeyHashes(environment: Environment): ReadonlySet<string> {
  return new Set(VARIABLES.flatMap((name) => secretsAtHand(environment, name)).map(managementKeyHash));
}
