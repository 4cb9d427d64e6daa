import { closeSync, constants, fstatSync, lstatSync, openSync, readSync } from "node:fs";
import { reasonOf, codeOf } from "./system-error.ts";
import { canChangeMode, isReadableByOthers } from "./file-mode.ts";

export type FileReading =
  | { readonly status: "absent" }
  | { readonly status: "unreadable"; readonly reason: string }
  | {
      readonly status: "read";
      readonly bytes: Buffer;
      readonly mode: number;
      readonly readableByOthers: boolean;
      /** Whether this process can change that. */
      readonly modeCanChange: boolean;
    };
// O_NONBLOCK, so that a FIFO without a writer cannot block; Windows has neither flag.
export const OPEN_FLAGS = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0);

/** Reads a small regular file completely; anything else is `unreadable`, with a reason in our own words. */
export function readRegularFile(path: string, maxBytes: number): FileReading {
  const read = readBeginning(path, maxBytes + 1);
  if (read.status !== "read" || read.bytes.length <= maxBytes) return read;
  return { status: "unreadable", reason: `it is larger than ${maxBytes / 1024} KiB` };
}

/** Reads the first bytes of a regular file, or all of a shorter one. */
export function readBeginning(path: string, bytes: number): FileReading {
  let file: number;
  try {
    file = openSync(path, OPEN_FLAGS);
  } catch (thrown) {
    return notOpened(path, thrown);
  }
  try {
    return readOpen(path, file, bytes);
  } catch (thrown) {
    return { status: "unreadable", reason: reasonOf(thrown) };
  } finally {
    closeSync(file);
  }
}

function readOpen(path: string, file: number, bytes: number): FileReading {
  const stats = fstatSync(file);
  if (stats.isDirectory()) return { status: "unreadable", reason: "it is a directory" };
  if (!stats.isFile()) return { status: "unreadable", reason: "it is not a regular file" };

  const buffer = Buffer.alloc(bytes);
  let length = 0;
  for (;;) {
    const count = readSync(file, buffer, length, buffer.length - length, null);
    length += count;
    if (count === 0 || length === buffer.length) break;
  }
  const readableByOthers = isReadableByOthers(stats.mode);
  return {
    status: "read",
    bytes: buffer.subarray(0, length),
    mode: stats.mode & 0o777,
    readableByOthers,
    modeCanChange: !readableByOthers || canChangeMode(path, stats.uid),
  };
}

/** The reading of a file that could not be opened. */
export function notOpened(path: string, thrown: unknown): Exclude<FileReading, { readonly status: "read" }> {
  if (codeOf(thrown) !== "ENOENT") return { status: "unreadable", reason: reasonOf(thrown) };
  const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
  return isLink ? { status: "unreadable", reason: "it is a symbolic link to nothing" } : { status: "absent" };
}
