/** The mask of a key that ends in these characters: fifteen stars and its last four characters. */
export function maskOf(tail: string): string {
  return "*".repeat(15) + tail;
}
