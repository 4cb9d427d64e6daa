import { ApiKey } from "../core/model/api-key.ts";
import type { KeySource, SourceReading } from "../core/ports/stores-and-sources.ts";
import { decodeText } from "../files/decode-text.ts";
import { readNamedFile } from "../files/named-file.ts";
import type { PipeWait } from "../files/named-file.ts";
import { readRegularFile } from "../files/read-regular-file.ts";
import { keyFaultOf } from "../core/model/key-fault.ts";
import type { Warning } from "../core/model/warning.ts";
import { basename } from "node:path";
import { printable } from "../core/text/printable.ts";
import { keyFileModeWarning } from "../core/model/key-file-mode.ts";

/** The size limit of a file that holds one key. */
export const MAX_KEY_FILE_BYTES = 4 * 1024;

export interface KeyFilePlace {
  readonly path: string;
  /** True if a person named the file: a missing file is then worth a warning, and no reason to create a key. */
  readonly named: boolean;
}

/** `key.txt`: a regular file of at most 4 KiB that holds exactly one key, in UTF-8 or UTF-16. A file that a person named may be a pipe. */
export function keyFile(
  { path, named }: KeyFilePlace,
  isManagementKey: (text: string) => boolean,
  wait?: PipeWait,
): KeySource {
  return {
    name: "key.txt",
    place: path,
    async read() {
      const file = named
        ? await readNamedFile(path, MAX_KEY_FILE_BYTES, wait)
        : readRegularFile(path, MAX_KEY_FILE_BYTES);
      switch (file.status) {
        case "absent":
          return named ? { reading: { status: "missing" }, warnings: [missing] } : { reading: file, warnings: [] };
        case "unreadable":
          return { reading: file, warnings: [] };
        case "read":
          return {
            reading: readingOf(file.bytes, isManagementKey),
            warnings: file.readableByOthers ? [keyFileModeWarning(nameOf(path), file)] : [],
          };
      }
    },
  };
}

/** The reading of a key file's bytes. */
export function readingOf(bytes: Uint8Array, isManagementKey: (text: string) => boolean): SourceReading {
  const text = decodeText(bytes);
  if (text === undefined) return { status: "unreadable", reason: "it is not valid UTF-8 or UTF-16 text" };
  return readingOfText(text, isManagementKey);
}

/** The reading of a text that should be one key. */
export function readingOfText(text: string, isManagementKey: (text: string) => boolean): SourceReading {
  if (isManagementKey(text)) return { status: "management-key" };
  const key = ApiKey.parse(text);
  return key === undefined ? { status: "malformed", detail: keyFaultOf(text) } : { status: "found", key };
}

function nameOf(path: string): string {
  return basename(path) === "key.txt" ? "key.txt" : printable(path);
}

const missing: Warning = {
  code: "KEY_FILE_MISSING",
  message: "the file named in place of key.txt does not exist",
};
