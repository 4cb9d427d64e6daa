import type { LimitReset } from "../core/key-record.ts";
import { isLimitReset, isWorkspace } from "../core/provision-terms.ts";

/** An amount in USD, or null for `none`; undefined for anything else. */
export function parseLimit(text: string): number | null | undefined {
  if (text === "none") return null;
  return /^\d{1,9}(?:\.\d{1,6})?$/.test(text) ? Number(text) : undefined;
}

export function parseLimitReset(text: string): LimitReset | undefined {
  return isLimitReset(text) ? text : undefined;
}

/** An id as OpenRouter gives it. */
export function parseWorkspace(text: string): string | undefined {
  return isWorkspace(text) ? text : undefined;
}
