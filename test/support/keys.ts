import { createHash } from "node:crypto";

/** A key of the usual shape that ends in these characters. */
export function keyEnding(tail: string): string {
  return `sk-or-v1-${tail.padStart(64, "0")}`;
}

export function hashOf(key: string): string {
  return createHash("sha256").update(key).digest("hex");
}

export function maskOf(key: string): string {
  return "*".repeat(15) + key.slice(-4);
}

export const USER = "68e228e87f803a11a4e23045";
export const KEY = keyEnding("b465");
export const OTHER = keyEnding("91aa");
