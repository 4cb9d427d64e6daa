/** What is shown in place of a key that ends in this: fifteen stars and its last four characters. */
export function maskOf(tail: string): string {
  return "*".repeat(15) + tail;
}
