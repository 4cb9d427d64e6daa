import { durationMeant, parseDuration } from "../text/duration.ts";

/** How long the old key goes on working after a rotation, unless said otherwise; in milliseconds. */
export const DEFAULT_GRACE_MS = 600_000;
/** The longest grace: 30 days. */
export const LONGEST_GRACE_MS = 30 * 86_400_000;

/** Completes `--grace takes …`. */
export const GRACE_FORM = "a duration such as 10m, 1h30m or 1d, of at most 30d, or 0";

/** `0`, or a duration of up to 30 days, in milliseconds; undefined for anything else. */
export function parseGrace(text: string): number | undefined {
  const milliseconds = text === "0" ? 0 : parseDuration(text);
  return milliseconds !== undefined && milliseconds <= LONGEST_GRACE_MS ? milliseconds : undefined;
}

/** The grace that a text in another form means: `10 minutes`; undefined if it is not clear. */
export function graceMeant(text: string): string | undefined {
  const meant = durationMeant(text);
  return meant === undefined || parseGrace(meant) === undefined ? undefined : meant;
}
