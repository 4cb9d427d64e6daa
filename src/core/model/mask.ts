/** The mask of a key that ends in these characters: fifteen stars and its last four characters. */
export function maskOf(tail: string): string {
  return "*".repeat(15) + tail;
}

/** A text that holds the mask of a key, or is a shorter one. */
export const MASK_LIKE = /\*{8}|^\s*\*{4,}[A-Za-z0-9_-]{0,4}\s*$/;

const TAIL = /^[A-Za-z0-9_-]{4}$/;

/** The mask by the recorded last characters. A tail that another program wrote in any other form is not shown. */
export function maskOfTail(tail: string | null): string | null {
  return tail === null ? null : maskOf(TAIL.test(tail) ? tail : "????");
}
