import { managementKeyMissing } from "./key-listing.ts";
import type { ManagementKey } from "./management-key.ts";
import type { OpenRouterOnUse, UpstreamKeys } from "./upstream.ts";

interface Access {
  readonly openRouter: OpenRouterOnUse;
  readonly managementKey: () => ManagementKey | undefined;
}

/** What can be done at OpenRouter with the management key; undefined where there is none. Throws CONFIG_… errors. */
export async function upstreamKeys({ openRouter, managementKey }: Access): Promise<UpstreamKeys | undefined> {
  const key = managementKey();
  return key === undefined ? undefined : (await openRouter.open()).keysUnder(key);
}

/**
 * As `upstreamKeys`. Throws MANAGEMENT_KEY_MISSING where there is no management key.
 * @param what what cannot be done then
 */
export async function requireUpstreamKeys(access: Access, what: string): Promise<UpstreamKeys> {
  const keys = await upstreamKeys(access);
  if (keys === undefined) throw managementKeyMissing(what);
  return keys;
}

/** The same, before anything is opened. */
export function requireManagementKey({ managementKey }: Access, what: string): void {
  if (managementKey() === undefined) throw managementKeyMissing(what);
}
