import { isUtf8 } from "node:buffer";

const BOMS: readonly (readonly [encoding: string, mark: readonly number[]])[] = [
  ["utf-8", [0xef, 0xbb, 0xbf]],
  ["utf-16le", [0xff, 0xfe]],
  ["utf-16be", [0xfe, 0xff]],
];

/** The encoding that a byte order mark announces (PowerShell writes UTF-16); UTF-8 without one. */
export function encodingOf(bytes: Uint8Array): string {
  return BOMS.find(([, mark]) => mark.every((byte, index) => bytes[index] === byte))?.[0] ?? "utf-8";
}

/** The text without its byte order mark; undefined if the bytes are not valid in their encoding. */
export function decodeText(bytes: Uint8Array): string | undefined {
  const encoding = encodingOf(bytes);
  if (encoding === "utf-8")
    return isUtf8(bytes)
      ? Buffer.from(bytes)
          .toString("utf8")
          .replace(/^\uFEFF/, "")
      : undefined;
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
