import { KeyctlError } from "../core/model/errors.ts";
import type { KeySource, SourceReading } from "../core/ports/stores-and-sources.ts";
import { decodeText } from "../files/decode-text.ts";
import { readNamedFile } from "../files/named-file.ts";
import type { PipeWait } from "../files/named-file.ts";
import type { FileReading } from "../files/read-regular-file.ts";
import { MAX_KEY_FILE_BYTES, readingOf, readingOfText } from "./key-file.ts";

/** The environment's settings for a user's key; undefined for those that are not set. */
export interface EnvironmentKeyPlace {
  /** The value of OPENROUTER_API_KEY. */
  readonly text: string | undefined;
  /** The file that OPENROUTER_API_KEY_FILE names. */
  readonly path: string | undefined;
}

const VARIABLE = "OPENROUTER_API_KEY";
const FILE_VARIABLE = `${VARIABLE}_FILE`;

/** `OPENROUTER_API_KEY`, or the file that its `_FILE` form names. Rejects with CONFIG_CONFLICT if they differ. */
export function environmentKey(
  placeNow: () => EnvironmentKeyPlace,
  isManagementKey: (text: string) => boolean,
  wait?: PipeWait,
): KeySource {
  return {
    name: "environment",
    get place() {
      return placeNow().path === undefined ? VARIABLE : FILE_VARIABLE;
    },
    async read() {
      const { text, path } = placeNow();
      const file = path === undefined ? undefined : await readNamedFile(path, MAX_KEY_FILE_BYTES, wait);
      if (text !== undefined && file !== undefined && !holds(file, text)) {
        throw new KeyctlError("CONFIG_CONFLICT", `${VARIABLE} and ${FILE_VARIABLE} hold different values`, {
          hint: `unset ${FILE_VARIABLE}`,
        });
      }
      if (file !== undefined) return { reading: readingOfNamedFile(file, isManagementKey), warnings: [] };
      return {
        reading: text === undefined ? { status: "absent" } : readingOfText(text, isManagementKey),
        warnings: [],
      };
    },
  };
}

/** Whether the file holds this text, apart from white space at its ends. */
function holds(file: FileReading, text: string): boolean {
  return file.status === "read" && decodeText(file.bytes)?.trim() === text.trim();
}

/** The variable that names the file is set, so a fault of the file is a fault of the variable's value. */
function readingOfNamedFile(file: FileReading, isManagementKey: (text: string) => boolean): SourceReading {
  const reading = file.status === "read" ? readingOf(file.bytes, isManagementKey) : file;
  switch (reading.status) {
    case "absent":
      return { status: "malformed", detail: "names a file that does not exist" };
    case "unreadable":
      return { status: "malformed", detail: `names a file that cannot be used: ${reading.reason}` };
    case "malformed":
      return { status: "malformed", detail: `names a file that ${reading.detail}` };
    default:
      return reading;
  }
}
