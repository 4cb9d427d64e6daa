/** `1,234,567`. Loading the tables of `toLocaleString` takes a tenth of Node's start-up time. */
export function formatNumber(count: number): string {
  return String(Math.round(count)).replace(/\B(?=(?:\d{3})+$)/g, ",");
}

/** `key` or `keys`, `is` or `are`: the word for this number. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return count === 1 ? one : many;
}

/** `1 key`, `1,234 keys`. */
export function counted(count: number, one: string, many?: string): string {
  return `${formatNumber(count)} ${plural(count, one, many)}`;
}

/** The mode of a file, as `0600`. */
export function octal(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}
