const DAY_MS = 86_400_000;
/** The largest first. A year is 365 days. */
const UNITS = { y: 365 * DAY_MS, w: 7 * DAY_MS, d: DAY_MS, h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const;
const NAMES = Object.keys(UNITS) as readonly (keyof typeof UNITS)[];
const PARTS = new RegExp(`^${NAMES.map((unit) => `(?:(\\d{1,9})${unit})?`).join("")}$`);

/** What durations look like, for messages. */
export const DURATION_FORM = "a duration such as 30s, 5m, 1h30m, 24h, 90d, 2w or 1y, of at most 100y";

/**
 * `500ms`, `30s`, `1h30m`, `90d`, `2w` or `1y` in milliseconds: each unit once, the largest first. Undefined for anything
 * else, for zero and for more than a hundred years.
 */
export function parseDuration(text: string): number | undefined {
  const found = PARTS.exec(text);
  if (found === null) return undefined;
  const milliseconds = NAMES.reduce((sum, unit, index) => sum + Number(found[index + 1] ?? 0) * UNITS[unit], 0);
  return milliseconds > 0 && milliseconds <= LONGEST_MS ? milliseconds : undefined;
}

/** The longest time of a flag, a variable or an option: a hundred years. Dates that are computed from it do not overflow. */
export const LONGEST_MS = 36_500 * DAY_MS;

/** Other words for the units. `M` alone is a month or a minute: it is none of them. */
const OTHER_NAMES: readonly (readonly [unit: keyof typeof UNITS, words: RegExp, count: number])[] = [
  ["ms", /^(?:ms|msecs?|millis|milliseconds?)$/i, 1],
  ["s", /^(?:s|secs?|seconds?)$/i, 1],
  ["m", /^(?:m|mins?|minutes?)$/, 1],
  ["m", /^(?:mins?|minutes?)$/i, 1],
  ["h", /^(?:h|hrs?|hours?)$/i, 1],
  ["d", /^(?:d|days?)$/i, 1],
  ["w", /^(?:w|wks?|weeks?)$/i, 1],
  ["d", /^(?:mo|mos|months?)$/i, 30],
  ["y", /^(?:y|yrs?|years?)$/i, 1],
];

/** The duration that a text in another form means: `10 days`, `5min`, `1.5h` or `P1D`; undefined if it is not clear. */
export function durationMeant(text: string): string | undefined {
  const iso = /^P(?!$)(?:\d+[YWD])*(?:T(?=\d)(?:\d+[HMS])*)?$/i.test(text);
  const plain = iso ? text.replaceAll(/[PT]/gi, "").toLowerCase() : text.trim();
  const part = /\s*(\d{1,9}(?:[.,]\d{1,3})?)\s*([a-z]+)/giy;
  let milliseconds = 0;
  let end = 0;
  for (let found = part.exec(plain); found !== null; found = part.exec(plain)) {
    const [, amount = "", name = ""] = found;
    const [unit, , count] = OTHER_NAMES.find(([, words]) => words.test(name)) ?? [];
    if (unit === undefined || count === undefined) return undefined;
    milliseconds += Number(amount.replace(",", ".")) * UNITS[unit] * count;
    end = part.lastIndex;
  }
  const meant = durationText(Math.round(milliseconds));
  return end === plain.length && parseDuration(meant) !== undefined ? meant : undefined;
}

/** `90d`, `1h30m`: days are not counted in weeks or years. */
export function durationText(milliseconds: number): string {
  let rest = milliseconds;
  let text = "";
  for (const unit of ["d", "h", "m", "s", "ms"] as const) {
    const amount = Math.floor(rest / UNITS[unit]);
    rest -= amount * UNITS[unit];
    if (amount > 0) text += `${amount}${unit}`;
  }
  return text;
}
