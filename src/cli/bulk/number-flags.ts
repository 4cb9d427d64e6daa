/** A number of users or keys, or a share of them: `5` or `5%`. */
export type CountOrShare = { readonly count: number } | { readonly percent: number };

/** Undefined for anything else, and for more than all of them. */
export function parseCountOrShare(text: string): CountOrShare | undefined {
  const [, amount, percent] = /^(\d{1,9})(%?)$/.exec(text) ?? [];
  if (amount === undefined) return undefined;
  const number = Number(amount);
  if (percent === "") return { count: number };
  return number <= 100 ? { percent: number } : undefined;
}
