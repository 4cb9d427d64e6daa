const SECONDS = /^\d+(?:\.\d+)?$/;
/** The three forms of https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7, as far as they need to be told from garbage. */
const DATE = /^[A-Z][a-z]{2,8},? [\w -]+ \d{2}:\d{2}:\d{2} (?:GMT|\d{4})$/;

/**
 * How long the server wants us to wait, in milliseconds: Retry-After as seconds or as an HTTP date. Undefined for none,
 * and for what is neither; 0 for a date that is past; a huge number is what it is, and no budget holds it.
 * @param now the server's time of the answer, as its Date header says, in milliseconds; else ours
 */
export function retryAfterMs(header: string | undefined, now: number): number | undefined {
  const value = header?.trim() ?? "";
  if (SECONDS.test(value)) return Math.ceil(Number(value) * 1000);
  const date = httpDate(value);
  return date === undefined ? undefined : Math.max(0, date - now);
}

/** Milliseconds since 1970; undefined for what is no HTTP date. */
export function httpDate(header: string | undefined): number | undefined {
  if (header === undefined || !DATE.test(header)) return undefined;
  // All three forms are in UTC; only two of them say so.
  const milliseconds = Date.parse(header.endsWith(" GMT") ? header : `${header} GMT`);
  return Number.isNaN(milliseconds) ? undefined : milliseconds;
}
