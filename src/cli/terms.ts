import type { LimitReset } from "../core/key-record.ts";

const RESETS: readonly LimitReset[] = ["daily", "weekly", "monthly"];

/** An amount in USD, or null for `none`; undefined for anything else. */
export function parseLimit(text: string): number | null | undefined {
  if (text === "none") return null;
  return /^\d{1,9}(?:\.\d{1,6})?$/.test(text) ? Number(text) : undefined;
}

export function parseLimitReset(text: string): LimitReset | undefined {
  return RESETS.find((reset) => reset === text);
}

/** An id as OpenRouter gives it. */
export function parseWorkspace(text: string): string | undefined {
  return /^[A-Za-z0-9_-]{1,128}$/.test(text) ? text : undefined;
}
