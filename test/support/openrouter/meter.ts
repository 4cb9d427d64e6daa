/** The periods that OpenRouter counts, and after which a limit is reset. */
const PERIODS = ["daily", "weekly", "monthly"] as const;
type Period = (typeof PERIODS)[number];

/** Money that was spent, in USD. Times are in milliseconds since 1970. */
export class Meter {
  #total: number;
  /** What was spent on each day by UTC, such as 2026-11-25. */
  readonly #days = new Map<string, number>();
  /** For each period: when it began, and what had been spent by then. */
  readonly #before: Record<Period, { start: number; spent: number }>;

  /** @param total counts as spent in the present periods */
  constructor(total: number, now: number) {
    this.#total = total;
    const at = (period: Period) => ({ start: startOf(period, now), spent: 0 });
    this.#before = { daily: at("daily"), weekly: at("weekly"), monthly: at("monthly") };
  }

  spend(usd: number, now: number): void {
    this.#turn(now);
    this.#total += usd;
    const day = dayOf(now);
    this.#days.set(day, (this.#days.get(day) ?? 0) + usd);
  }

  get total(): number {
    return this.#total;
  }

  on(day: string): number {
    return this.#days.get(day) ?? 0;
  }

  /** What was spent since the present period began; without such a period, since ever. */
  within(period: string | null, now: number): number {
    this.#turn(now);
    const before = PERIODS.find((each) => each === period);
    return before === undefined ? this.#total : this.#total - this.#before[before].spent;
  }

  #turn(now: number): void {
    for (const period of PERIODS) {
      const start = startOf(period, now);
      if (start > this.#before[period].start) this.#before[period] = { start, spent: this.#total };
    }
  }
}

/** The day by UTC: `2026-11-25`. */
export function dayOf(time: number): string {
  return new Date(time).toISOString().slice(0, 10);
}

/** 00:00 UTC of the day, of its Monday, or of the first day of its month. */
function startOf(period: Period, now: number): number {
  const time = new Date(now);
  const [year, month, day] = [time.getUTCFullYear(), time.getUTCMonth(), time.getUTCDate()];
  if (period === "daily") return Date.UTC(year, month, day);
  if (period === "monthly") return Date.UTC(year, month, 1);
  // A week begins on Monday, and Sunday is day 0.
  return Date.UTC(year, month, day - ((time.getUTCDay() + 6) % 7));
}

/** The fields of a key with this prefix: for example `usage`, `usage_daily`, `usage_weekly` and `usage_monthly`. */
export function usageFields<Prefix extends string>(prefix: Prefix, meter: Meter, now: number) {
  const named = PERIODS.map((period) => [`${prefix}_${period}`, meter.within(period, now)]);
  // The entries have exactly these names.
  return { [prefix]: meter.total, ...Object.fromEntries(named) } as Record<Prefix | `${Prefix}_${Period}`, number>;
}
