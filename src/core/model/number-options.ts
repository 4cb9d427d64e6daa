import { LONGEST_MS } from "../text/duration.ts";
import { KeyctlError } from "./errors.ts";

/** The most keys that are checked at OpenRouter at once. */
export const MOST_AT_ONCE = 500;
/** How many keys are checked, created or rotated at once, unless the caller says otherwise. */
export const VALIDATED_AT_ONCE = 20;
export const CREATED_AT_ONCE = 8;
export const ROTATED_AT_ONCE = 20;
/** Bounds of a duration, in milliseconds. */
export const UP_TO_LONGEST = { from: 0, to: LONGEST_MS } as const;

/** Values that make sense, for hints; each is within its bounds. */
const EXAMPLES: Readonly<Record<string, string>> = {
  timeoutMs: "30_000",
  graceMs: "86_400_000",
  expiresInMs: "7_776_000_000",
  olderThanMs: "7_776_000_000",
  expiresWithinMs: "604_800_000",
  warnWithinMs: "604_800_000",
  notValidatedSinceMs: "3_600_000",
};

export function exampleOfNumber(name: string): string {
  return EXAMPLES[name] ?? "10";
}

/** Returns the number. Throws USAGE for a value that is not a number or is outside these bounds. */
export function checkedNumber(
  name: string,
  value: number,
  { from, to, whole = false }: { readonly from: number; readonly to: number; readonly whole?: boolean },
): number {
  const amount = name.endsWith("Ms") ? "number of milliseconds" : "number";
  const range = to === Number.MAX_SAFE_INTEGER ? `of ${from} or more` : `from ${from} to ${to}`;
  const isNumber = typeof value === "number" && value >= from && value <= to;
  if (isNumber && (!whole || Number.isInteger(value))) return value;
  throw new KeyctlError("USAGE", `${name} is a ${whole ? "whole " : ""}${amount} ${range}`, {
    hint: `${name}: ${exampleOfNumber(name)}`,
  });
}

/** Throws USAGE. */
export function checkConcurrency(concurrency: number): void {
  checkedNumber("concurrency", concurrency, { from: 1, to: MOST_AT_ONCE, whole: true });
}
