import { statSync } from "node:fs";
import type { MasterKeyPlaceFacts } from "../core/ports/stores-and-sources.ts";
import type { MasterKeyPlace } from "./master-key-place.ts";
import { isReadableByOthers } from "../files/file-mode.ts";

/** The place of the master keys. Reads no key. */
export function describeMasterKeys(place: MasterKeyPlace): MasterKeyPlaceFacts {
  switch (place.kind) {
    case "text":
    case "command":
      return { from: place.from, isWritable: false, file: null };
    case "file":
      return { from: place.from, isWritable: true, file: fileAt(place.path) };
    case "credential":
    case "default-file":
      return { from: place.path, isWritable: place.kind === "default-file", file: fileAt(place.path) };
  }
}

function fileAt(path: string): MasterKeyPlaceFacts["file"] {
  const mode = modeOf(path);
  const readableByOthers = mode !== null && isReadableByOthers(mode);
  return { path, mode, readableByOthers };
}

function modeOf(path: string): number | null {
  try {
    return statSync(path).mode & 0o777;
  } catch {
    return null;
  }
}
