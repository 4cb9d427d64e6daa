import { KeyctlError } from "../core/model/errors.ts";
import { ManagementKey, managementKeyHash } from "../core/model/management-key.ts";
import { secret, secretsAtHand } from "./variables.ts";
import type { Environment } from "./variables.ts";

/** The older name, and the one that OpenRouter has for it now. */
const VARIABLES = ["OPENROUTER_PROVISIONING_KEY", "OPENROUTER_MANAGEMENT_KEY"] as const;

/**
 * Undefined when it is not set. Both names are read; that they differ is a mistake somebody must look at. Throws
 * CONFIG_CONFLICT, CONFIG_INVALID.
 */
export function managementKeyText(environment: Environment): string | undefined {
  const values = VARIABLES.flatMap((name) => secret(environment, name)?.trim() || []);
  if (new Set(values).size > 1) {
    throw new KeyctlError("CONFIG_CONFLICT", `${VARIABLES.join(" and ")} hold different keys`, {
      hint: `unset ${VARIABLES[0]}: it is the older name`,
    });
  }
  return values[0];
}

/** As `managementKeyText`. Throws CONFIG_INVALID for what cannot be one, too. */
export function managementKey(environment: Environment): ManagementKey | undefined {
  const text = managementKeyText(environment);
  if (text === undefined) return undefined;
  const key = ManagementKey.parse(text);
  if (key !== undefined) return key;
  throw new KeyctlError("CONFIG_INVALID", `${VARIABLES.join(" or ")} does not hold a management key`, {
    hint: "make one at https://openrouter.ai/settings/management-keys",
  });
}

/** Of both names and their files, also where they contradict each other: what is wrong there is said where they are used. */
export function managementKeyHashes(environment: Environment): ReadonlySet<string> {
  return new Set(VARIABLES.flatMap((name) => secretsAtHand(environment, name)).map(managementKeyHash));
}
