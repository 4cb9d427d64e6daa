import { KeyctlError } from "../core/model/errors.ts";
import { rfc3339In } from "../core/model/expiry.ts";
import { DURATION_FORM, durationMeant, LONGEST_MS, parseDuration } from "../core/text/duration.ts";

/** For hints: a value of each flag that does no harm when it is copied. */
const EXAMPLES: Readonly<Record<string, string>> = {
  "--timeout": "2m",
  "--stop-after": "30m",
  "--since": "7d",
  "--older-than": "90d",
  "--expires-in": "90d",
  "--expires-within": "14d",
  "--warn-within": "14d",
  "--not-validated-since": "24h",
};

/** The parser of a flag with a duration; returns milliseconds. Throws USAGE. */
export function flagDuration(flag: string): (text: string) => number {
  return (text) => {
    const milliseconds = parseDuration(text);
    if (milliseconds !== undefined) return milliseconds;
    throw refused(flag, DURATION_FORM, durationMeant(text));
  };
}

/** A point in time, given as a date or as a time from now. */
export interface TimeFlag {
  readonly at: Date;
  /** From now, into the past or the future. */
  readonly milliseconds: number;
  /** A date was given: it is meant exactly. */
  readonly isDate: boolean;
}

/** The parser of a flag with a duration, or with a date in the past. Throws USAGE. */
export function flagPast(flag: string): (text: string) => TimeFlag {
  return (text) => timeOf(flag, text, -1);
}

/** The parser of a flag with a duration, or with a date in the future. Throws USAGE. */
export function flagFuture(flag: string, other = ""): (text: string) => TimeFlag {
  return (text) => timeOf(flag, text, 1, other);
}

/** The end of a key's life, as the terms of a new key. */
export function lifetimeOf({ at, milliseconds, isDate }: TimeFlag): { expiresInMs: number | null; expiresAt?: string } {
  return isDate ? { expiresInMs: null, expiresAt: at.toISOString() } : { expiresInMs: milliseconds };
}

const DAY_MS = 86_400_000;

function timeOf(flag: string, text: string, direction: 1 | -1, other = ""): TimeFlag {
  const now = Date.now();
  const duration = parseDuration(text);
  if (duration !== undefined) {
    return { at: new Date(Math.max(0, now + direction * duration)), milliseconds: duration, isDate: false };
  }
  const at = parseDate(text);
  const distance = at === undefined ? 0 : direction * (at.getTime() - now);
  // The millisecond that is passing now is a past one.
  const milliseconds = direction === -1 && at?.getTime() === now ? 1 : distance;
  if (at !== undefined && milliseconds > 0 && milliseconds <= LONGEST_MS) return { at, milliseconds, isDate: true };
  const day = new Date(now + direction * 90 * DAY_MS).toISOString().slice(0, 10);
  const where = direction === 1 ? "future" : "past";
  const form = `${DURATION_FORM}, or a date in the ${where} such as ${day} or ${day}T12:00:00Z`;
  const zoned = /T\d{2}:\d{2}$/i.test(text) ? `${text}:00Z` : `${text}Z`;
  const meant = parseDate(zoned);
  const isMeant = meant !== undefined && direction * (meant.getTime() - now) > 0;
  throw refused(flag, other === "" ? form : `${form}, or ${other}`, isMeant ? zoned : durationMeant(text));
}

/** A day, which begins at midnight UTC, or a time with its offset; undefined for anything else. */
function parseDate(text: string): Date | undefined {
  const [, year, month, day, rest] = /^(\d{4})-(\d{2})-(\d{2})(T.*)?$/i.exec(text) ?? [];
  const time = rfc3339In(rest === undefined ? `${text}T00:00:00Z` : text);
  // Date takes the 30th of February for the 2nd of March.
  const lastDay = new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate();
  return time === null || Number(day) > lastDay ? undefined : new Date(time);
}

function refused(flag: string, form: string, meant: string | undefined): KeyctlError {
  return new KeyctlError("USAGE", `${flag} takes ${form}`, { hint: `${flag} ${meant ?? EXAMPLES[flag]}` });
}
