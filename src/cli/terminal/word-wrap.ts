/** Lines of whole words; a word that is longer than a line gets a line of its own. */
export function wrapped(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const line = lines.at(-1);
    if (line === undefined || line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${line} ${word}`;
  }
  return lines;
}

const INDENT = "  ";

/** Lines of whole words below a mark that is two columns wide. */
export function hangingLines(mark: string, text: string, columns = Number.POSITIVE_INFINITY): readonly string[] {
  return wrapped(text, columns - INDENT.length).map((line, index) => (index === 0 ? mark : INDENT) + line);
}
