import { KeyctlError } from "../core/errors.ts";
import { LONGEST_MS } from "../core/number-options.ts";

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `500ms`, `30s`, `5m`, `24h` or `90d` in milliseconds; undefined for anything else, for no time at all and for more than a hundred years. */
export function parseDuration(text: string): number | undefined {
  const [, amount, unit] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text) ?? [];
  const milliseconds = Number(amount) * (UNITS[unit ?? ""] ?? Number.NaN);
  return milliseconds > 0 && milliseconds <= LONGEST_MS ? milliseconds : undefined;
}

/** The parser of a flag that takes a duration; gives milliseconds. Throws USAGE. */
export function flagDuration(flag: string): (text: string) => number {
  return (text) => {
    const milliseconds = parseDuration(text);
    if (milliseconds !== undefined) return milliseconds;
    throw new KeyctlError("USAGE", `${flag} takes a duration`, {
      hint: `${flag} 30s   (or 500ms, 5m, 24h, 90d; 36500d at most)`,
    });
  };
}

type Span = readonly [unit: string, word: string, milliseconds: number];

const SECOND: Span = ["s", "second", 1000];
const SPANS: readonly Span[] = [["d", "day", 86_400_000], ["h", "hour", 3_600_000], ["m", "minute", 60_000], SECOND];

/** The largest whole unit: `47d`, `2h`, `12s`. */
export function formatSpan(milliseconds: number): string {
  const { amount, unit } = largestUnit(milliseconds);
  return `${amount}${unit}`;
}

/** `2 hours ago`, `just now`. */
export function formatAgo(milliseconds: number): string {
  const words = inWords(milliseconds);
  return words === undefined ? "just now" : `${words} ago`;
}

/** `11 days old`, `new`. */
export function formatAge(milliseconds: number): string {
  const words = inWords(milliseconds);
  return words === undefined ? "new" : `${words} old`;
}

/** `2 hours`; undefined for less than a second. */
function inWords(milliseconds: number): string | undefined {
  const { amount, word } = largestUnit(milliseconds);
  return amount > 0 ? `${amount} ${word}${amount === 1 ? "" : "s"}` : undefined;
}

function largestUnit(milliseconds: number): { readonly amount: number; readonly unit: string; readonly word: string } {
  const [unit, word, size] = SPANS.find(([, , length]) => milliseconds >= length) ?? SECOND;
  return { amount: Math.max(0, Math.floor(milliseconds / size)), unit, word };
}
