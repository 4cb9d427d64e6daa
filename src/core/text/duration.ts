const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `500ms`, `30s`, `5m`, `24h` or `90d` in milliseconds; undefined for anything else, for zero and for more than a hundred years. */
export function parseDuration(text: string): number | undefined {
  const [, amount, unit] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text) ?? [];
  const milliseconds = Number(amount) * (UNITS[unit ?? ""] ?? Number.NaN);
  return milliseconds > 0 && milliseconds <= LONGEST_MS ? milliseconds : undefined;
}

/** The longest time of a flag, a variable or an option: a hundred years. Dates that are computed from it do not overflow. */
export const LONGEST_MS = 36_500 * 86_400_000;
