/** The options of the program that take a value. */
const TAKE_A_VALUE: ReadonlySet<string> = new Set(["--timeout", "--store", "--key-file"]);

/**
 * The words that are no options, and no values of the program's own options. The first is the command; behind it, there may
 * be values of the command's options among them.
 */
export function plainWords(words: readonly string[]): readonly { readonly index: number; readonly word: string }[] {
  return words.flatMap((word, index) =>
    word.startsWith("-") || TAKE_A_VALUE.has(words[index - 1] ?? "") ? [] : [{ index, word }],
  );
}
