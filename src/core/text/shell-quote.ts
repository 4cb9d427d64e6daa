import { printable } from "./printable.ts";

/** A word that begins with `=` is not plain: zsh expands `=ls` to the path of ls. */
const PLAIN = /^[A-Za-z0-9_@%+:,./-][A-Za-z0-9_@%+=:,./-]*$/;

/** A word as a POSIX shell reads it back. User ids come from sign-up forms: a hint must be safe to paste. */
export function shellQuote(word: string): string {
  if (PLAIN.test(word)) return word;
  return printable(word) === word ? `'${word.replaceAll("'", `'\\''`)}'` : ansiQuote(word);
}

/** `--user alice`; `--user=-x` if the id would be read as an option or a typing mistake. */
export function userFlag(user: string): string {
  return /^[-=]/.test(user) ? `--user=${shellQuote(user)}` : `--user ${shellQuote(user)}`;
}

/** The `$'…'` form of bash, zsh and ksh, for a word with characters that must be escaped: their bytes in octal, which works in every locale. */
function ansiQuote(word: string): string {
  const escaped = Array.from(word, (character) => {
    if (character === "\\" || character === "'") return `\\${character}`;
    if (printable(character) === character) return character;
    return Array.from(Buffer.from(character), (byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
  });
  return `$'${escaped.join("")}'`;
}
