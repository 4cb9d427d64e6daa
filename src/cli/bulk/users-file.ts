import { createReadStream, statSync } from "node:fs";
import { isKeyctlError, KeyctlError } from "../../core/model/errors.ts";
import { printable } from "../../core/text/printable.ts";
import { encodingOf } from "../../files/decode-text.ts";
import { codeOf, reasonOf } from "../../files/system-error.ts";

const LONGEST_LINE = 4096;
const LONGEST_MARK = 3;

/** As `everyLineOf`, without blank lines. */
export async function* linesOf(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<readonly string[]> {
  for await (const lines of everyLineOf(bytes)) yield lines.filter(isNotBlank);
}

/**
 * The lines of a file, as they arrive and in constant memory. A BOM and CRLF are accepted, and an endless line is cut (and
 * then is neither a user id nor a key).
 */
export async function* everyLineOf(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<readonly string[]> {
  let decoder: InstanceType<typeof TextDecoder> | undefined;
  let rest = "";
  for await (const chunk of withWholeBom(bytes)) {
    decoder ??= new TextDecoder(encodingOf(chunk));
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = cut(lines.pop() ?? "");
    yield lines.map(withoutReturn);
  }
  yield [withoutReturn(rest + (decoder?.decode() ?? ""))];
}

/** The same bytes; a pipe may split a byte order mark, so the first chunk waits until the mark would be complete. */
async function* withWholeBom(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let head: Uint8Array | undefined = new Uint8Array();
  for await (const chunk of bytes) {
    if (head === undefined) {
      yield chunk;
      continue;
    }
    head = Buffer.concat([head, chunk]);
    if (head.length < LONGEST_MARK) continue;
    yield head;
    head = undefined;
  }
  if (head !== undefined) yield head;
}

/** The bytes of a users file. It must be a regular file, because a wait for another kind could not be interrupted. Throws USAGE if it cannot be read. */
export async function* bytesOf(path: string): AsyncGenerator<Uint8Array> {
  try {
    const stats = statSync(path);
    if (!stats.isFile()) throw unreadable(path, stats.isDirectory() ? "it is a directory" : "it is not a regular file");
    for await (const chunk of createReadStream(path)) {
      yield chunk as Buffer;
    }
  } catch (thrown) {
    if (codeOf(thrown) === "" || isKeyctlError(thrown)) throw thrown;
    throw unreadable(path, codeOf(thrown) === "ENOENT" ? "it does not exist" : reasonOf(thrown));
  }
}

function unreadable(path: string, reason: string): KeyctlError {
  return new KeyctlError("USAGE", `the users file ${printable(path)} cannot be read: ${reason}`, {
    hint: "give a file with one user id per line, or pipe the ids to --users-file -",
  });
}

function withoutReturn(line: string): string {
  return cut(line.endsWith("\r") ? line.slice(0, -1) : line);
}

function cut(line: string): string {
  return line.length > LONGEST_LINE ? line.slice(0, LONGEST_LINE) : line;
}

export function isNotBlank(line: string): boolean {
  return line.trim() !== "";
}
