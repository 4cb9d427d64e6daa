/**
 * Escapes every character of outside text (user ids, names, paths, messages) that moves the cursor, or colours, hides or
 * reorders text: controls, format characters (bidi), characters of no width, and separators.
 */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Default_Ignorable_Code_Point}]/gu;

/** Most text is plain, and this test is a hundred times as fast as the escape. */
const PLAIN = /^[\x20-\x7E]*$/;

export function printable(text: string): string {
  return PLAIN.test(text) ? text : text.replace(HIDDEN, escapeCharacter);
}

/** JSON with the same characters escaped as JSON allows it, so that the parsed value is unchanged; `change` is a replacer of JSON. */
export function printableJson(value: unknown, change?: (name: string, value: unknown) => unknown): string {
  const text = JSON.stringify(value, change);
  return PLAIN.test(text) ? text : text.replace(HIDDEN, escapeUnits);
}

function escapeCharacter(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  return code > 0xffff ? `\\u{${code.toString(16)}}` : unit(code);
}

function escapeUnits(character: string): string {
  return Array.from({ length: character.length }, (_, index) => unit(character.charCodeAt(index))).join("");
}

function unit(code: number): string {
  return `\\u${code.toString(16).padStart(4, "0")}`;
}
