import { createReadStream, statSync } from "node:fs";
import type { Stats } from "node:fs";
import type { Readable } from "node:stream";
import { isKeyctlError, KeyctlError } from "../../core/model/errors.ts";
import { anySignal } from "../../core/async/deadline.ts";
import { raceSignal } from "../../core/async/race-signal.ts";
import { printable } from "../../core/text/printable.ts";
import { encodingOf } from "../../files/decode-text.ts";
import { isPipe, openPipe, PIPE_MS, silence } from "../../files/named-file.ts";
import { codeOf, reasonOf } from "../../files/system-error.ts";

/** Longer than any user id, key or hash. */
export const MAX_LINE_LENGTH = 4096;
const MAX_MARK_LENGTH = 3;

/**
 * The lines of a file of user ids. Blank lines are skipped, and an endless line is cut: it then is not a user id.
 */
export async function* linesOf(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<readonly string[]> {
  for await (const lines of numberedLines(bytes, MAX_LINE_LENGTH))
    yield lines.map(({ text }) => text).filter(isNotBlank);
}

/** A line of a file, from 1. */
export interface NumberedLine {
  readonly number: number;
  readonly text: string;
  /** False: the input ends here, without a line end. */
  readonly hasEnd: boolean;
}

/** All lines, as they arrive and in constant memory, without their ends and a byte order mark. A longer line is cut. */
export async function* numberedLines(
  bytes: AsyncIterable<Uint8Array>,
  longest: number,
): AsyncGenerator<readonly NumberedLine[]> {
  let number = 0;
  const numbered = (line: string, hasEnd: boolean) => ({
    number: (number += 1),
    text: cut(withoutReturn(line), longest),
    hasEnd,
  });
  let decoder: InstanceType<typeof TextDecoder> | undefined;
  let rest = "";
  for await (const chunk of withWholeBom(bytes)) {
    decoder ??= new TextDecoder(encodingOf(chunk));
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    // With room for the return before a line end.
    rest = cut(lines.pop() ?? "", longest + 1);
    yield lines.map((line) => numbered(line, true));
  }
  const last = rest + (decoder?.decode() ?? "");
  if (last !== "") yield [numbered(last, false)];
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
    if (head.length < MAX_MARK_LENGTH) continue;
    yield head;
    head = undefined;
  }
  if (head !== undefined) yield head;
}

/** A file that a person named, for its errors. */
export interface NamedFile {
  /** Such as `users file`. */
  readonly what: string;
  readonly hint: string;
}

export const USERS_FILE: NamedFile = {
  what: "users file",
  hint: "give a file with one user id per line, or pipe the ids to --users-file -",
};

/**
 * The bytes of a file with many lines, or of a pipe, which may be silent for ten seconds. Throws USAGE if it cannot be read,
 * and the signal's reason.
 */
export async function* bytesOf(path: string, named: NamedFile, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const opened = isPipe(path) ? openPipe(path) : ({ status: "file" } as const);
  if (opened.status === "unreadable") throw unreadable(path, named, opened.reason);
  if (opened.status === "stream") {
    yield* piecesOf(opened.stream, signal, (hasBegun) => unreadable(path, named, silence(hasBegun)));
    return;
  }
  statsOfFile(path, named);
  try {
    for await (const chunk of createReadStream(path)) {
      yield chunk as Buffer;
    }
  } catch (thrown) {
    if (codeOf(thrown) === "" || isKeyctlError(thrown)) throw thrown;
    throw unreadable(path, named, reasonOf(thrown));
  }
}

/** Throws what `silent` gives if the pipe gives nothing for too long; the time between two readings does not count. */
async function* piecesOf(
  stream: Readable,
  signal: AbortSignal,
  silent: (hasBegun: boolean) => KeyctlError,
): AsyncGenerator<Uint8Array> {
  const chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  try {
    for (let hasBegun = false; ; hasBegun = true) {
      const time = AbortSignal.timeout(PIPE_MS);
      const next = await raceSignal(chunks.next(), anySignal(signal, time)).catch((thrown: unknown) => {
        throw thrown === time.reason ? silent(hasBegun) : thrown;
      });
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    stream.destroy();
  }
}

/** Throws USAGE for anything but a regular file. */
export function statsOfFile(path: string, named: NamedFile): Stats {
  let stats: Stats;
  try {
    stats = statSync(path);
  } catch (thrown) {
    throw unreadable(path, named, codeOf(thrown) === "ENOENT" ? "it does not exist" : reasonOf(thrown));
  }
  if (stats.isFile()) return stats;
  throw unreadable(path, named, stats.isDirectory() ? "it is a directory" : "it is not a regular file");
}

function unreadable(path: string, { what, hint }: NamedFile, reason: string): KeyctlError {
  return new KeyctlError("USAGE", `the ${what} ${printable(path)} cannot be read: ${reason}`, { hint });
}

function withoutReturn(line: string): string {
  return line.endsWith("\r") ? line.slice(0, -1) : line;
}

function cut(line: string, longest: number): string {
  return line.length > longest ? line.slice(0, longest) : line;
}

export function isNotBlank(line: string): boolean {
  return line.trim() !== "";
}
