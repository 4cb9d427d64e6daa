import type { OpenRouterServer } from "../openrouter/server.ts";

/** How a person takes a key out of use at OpenRouter, by hand. */
export type Death = "deleted" | "disabled" | "expired";

const DAY_MS = 86_400_000;
const LIFETIME_MS = 90 * DAY_MS;

/** Whether OpenRouter accepts the key. */
export function isAccepted({ keys, clock }: Pick<OpenRouterServer, "keys" | "clock">, hash: string): boolean {
  const key = keys.get(hash);
  if (key === undefined || key.disabled) return false;
  return key.expiresAt === null || Date.parse(key.expiresAt) > clock.now();
}

/** A key that has expired was created long ago: its successor lives as long as it did. */
export function kill({ keys, removeKey, clock }: OpenRouterServer, hash: string, death: Death): void {
  const key = keys.get(hash);
  if (key === undefined) return;
  if (death === "deleted") removeKey(hash);
  if (death === "disabled") key.disabled = true;
  if (death !== "expired") return;
  const at = clock.now() - 1_000;
  key.expiresAt = new Date(at).toISOString();
  key.createdAt = new Date(at - LIFETIME_MS).toISOString();
}
