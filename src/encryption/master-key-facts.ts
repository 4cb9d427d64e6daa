import { statSync } from "node:fs";
import type { MasterKeyPlaceFacts } from "../core/ports/stores-and-sources.ts";
import { isPipe } from "../files/named-file.ts";
import type { MasterKeyPlace } from "./master-key-place.ts";

/** The place of the master keys. Reads no key. */
export function describeMasterKeys(place: MasterKeyPlace): MasterKeyPlaceFacts {
  switch (place.kind) {
    case "text":
    case "command":
      return { from: place.from, isWritable: false, file: null };
    case "file":
      return { from: place.from, isWritable: !isPipe(place.path), file: fileAt(place.path) };
    case "credential":
    case "default-file":
      return { from: place.path, isWritable: place.kind === "default-file", file: fileAt(place.path) };
  }
}

function fileAt(path: string): MasterKeyPlaceFacts["file"] {
  const mode = modeOf(path);
  const readableByOthers = mode !== null && process.platform !== "win32" && (mode & 0o044) !== 0;
  return { path, mode, readableByOthers };
}

function modeOf(path: string): number | null {
  try {
    return statSync(path).mode & 0o777;
  } catch {
    return null;
  }
}
