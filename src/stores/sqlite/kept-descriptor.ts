import { fstatSync, openSync, statSync } from "node:fs";
import type { BigIntStats } from "node:fs";

const kept = new Map<string, number>();

/**
 * A descriptor to read a file that SQLite locks: the database file, or the index of its log. It stays open until the
 * process ends, one for each file. Closing it would drop the locks that this process's connections hold on the file
 * (https://sqlite.org/howtocorrupt.html, "Posix advisory locks canceled by a separate thread doing close()"). SQLite
 * locks neither the log nor a journal: these are opened and closed like other files.
 */
export function keptDescriptor(path: string): number {
  const known = kept.get(inodeOf(statSync(path, { bigint: true })));
  if (known !== undefined) return known;
  const descriptor = openSync(path, "r");
  // While the descriptor is open, no other file can have its inode.
  kept.set(inodeOf(fstatSync(descriptor, { bigint: true })), descriptor);
  return descriptor;
}

function inodeOf({ dev, ino }: BigIntStats): string {
  return `${dev}:${ino}`;
}
