import { statSync } from "node:fs";
import type { Stats } from "node:fs";
import type { MasterKeyPlaceFacts } from "../core/ports/stores-and-sources.ts";
import { isPipe } from "../files/named-file.ts";
import type { MasterKeyPlace } from "./master-key-place.ts";
import { canChangeMode, isReadableByOthers } from "../files/file-mode.ts";

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
  const stats = statsOf(path);
  if (stats === null) return { path, mode: null, readableByOthers: false };
  const readableByOthers = isReadableByOthers(stats.mode);
  return { path, mode: stats.mode & 0o777, readableByOthers, modeCanChange: canChangeMode(path, stats.uid) };
}

function statsOf(path: string): Stats | null {
  try {
    return statSync(path);
  } catch {
    return null;
  }
}
