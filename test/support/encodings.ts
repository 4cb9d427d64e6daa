/** Text as other programs write it, with the byte order mark where one is asked for. */
export const utf8 = (text: string): Buffer => Buffer.from(text, "utf8");
export const utf8WithBom = (text: string): Buffer => utf8(`\uFEFF${text}`);
export const utf16le = (text: string): Buffer => Buffer.from(text, "utf16le");
export const utf16leWithBom = (text: string): Buffer => utf16le(`\uFEFF${text}`);
export const utf16be = (text: string): Buffer => utf16le(text).swap16();
export const utf16beWithBom = (text: string): Buffer => utf16be(`\uFEFF${text}`);
export const utf32leWithBom = (text: string): Buffer => utf32(`\uFEFF${text}`);
export const utf32beWithBom = (text: string): Buffer => utf32(`\uFEFF${text}`).swap32();

function utf32(text: string): Buffer {
  return Buffer.concat(
    Array.from(text, (character) => {
      const unit = Buffer.alloc(4);
      unit.writeUInt32LE(character.codePointAt(0) ?? 0);
      return unit;
    }),
  );
}
