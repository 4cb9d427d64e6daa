import { counted, plural } from "../core/text/format.ts";

type Span = readonly [unit: string, word: string, milliseconds: number];

const SECOND: Span = ["s", "second", 1000];
const SPANS: readonly Span[] = [["d", "day", 86_400_000], ["h", "hour", 3_600_000], ["m", "minute", 60_000], SECOND];

/** The largest whole unit: `47d`, `2h`, `12s`. */
export function formatSpan(milliseconds: number): string {
  const { amount, unit } = largestUnit(milliseconds);
  return `${amount}${unit}`;
}

/** The time until an end, rounded up, so that it is never 0: `40s`, `2m 5s`, `3h 10m`. */
export function formatRemaining(milliseconds: number): string {
  const seconds = Math.max(1, Math.ceil(milliseconds / 1000));
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes}m ${seconds % 60}s` : `${Math.floor(minutes / 60)}h ${minutes % 60}m`;
}

/** `2 hours ago`, `just now`. */
export function formatAgo(milliseconds: number): string {
  const words = inWords(milliseconds);
  return words === undefined ? "just now" : `${words} ago`;
}

/** `20 s ago`, `just now`. */
export function formatShortAgo(milliseconds: number): string {
  const { amount, unit } = largestUnit(milliseconds);
  return amount > 0 ? `${amount} ${unit} ago` : "just now";
}

/** `11 days old`, `new`. */
export function formatAge(milliseconds: number): string {
  const words = inWords(milliseconds);
  return words === undefined ? "new" : `${words} old`;
}

/** `10 minutes`, `90 seconds`: in the largest unit in which it is a whole number; rounded up to a second. */
export function formatExactly(milliseconds: number): string {
  const seconds = Math.ceil(milliseconds / 1000) * 1000;
  const [, word, size] = SPANS.find(([, , length]) => seconds % length === 0) ?? SECOND;
  return counted(seconds / size, word);
}

/** `2 hours`; undefined for less than a second. */
function inWords(milliseconds: number): string | undefined {
  const { amount, word } = largestUnit(milliseconds);
  return amount > 0 ? `${amount} ${plural(amount, word)}` : undefined;
}

function largestUnit(milliseconds: number): { readonly amount: number; readonly unit: string; readonly word: string } {
  const [unit, word, size] = SPANS.find(([, , length]) => milliseconds >= length) ?? SECOND;
  return { amount: Math.max(0, Math.floor(milliseconds / size)), unit, word };
}
