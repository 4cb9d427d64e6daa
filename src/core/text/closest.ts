/** Below this length, a word has too few letters to be recognized with one of them wrong. */
const SHORTEST = 3;
const LONG = 8;
const LONGEST = 60;

/** The candidates that one letter, of a long word two, sets apart from this word; else those that it begins. */
export function closest(word: string, candidates: readonly string[]): readonly string[] {
  if (word.length < SHORTEST || word.length > LONGEST) return [];
  const most = word.length < LONG ? 1 : 2;
  const found = candidates.map((candidate) => ({ candidate, distance: distance(word, candidate) }));
  const least = Math.min(...found.map((each) => each.distance));
  if (least <= most) return found.flatMap((each) => (each.distance === least ? [each.candidate] : []));
  return candidates.filter((candidate) => candidate.startsWith(word));
}

/** How many letters are missing, too many, wrong or swapped with their neighbour. */
function distance(a: string, b: string): number {
  const rows: number[][] = Array.from({ length: a.length + 1 }, (_, i) => [i]);
  const at = (i: number, j: number) => rows[i]?.[j] ?? Number.POSITIVE_INFINITY;
  rows[0] = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    for (let j = 1; j <= b.length; j += 1) {
      const isSame = a[i - 1] === b[j - 1];
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const edited = Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + (isSame ? 0 : 1));
      rows[i]?.push(isSwapped ? Math.min(edited, at(i - 2, j - 2) + 1) : edited);
    }
  }
  return at(a.length, b.length);
}
