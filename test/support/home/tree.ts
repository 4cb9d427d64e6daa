import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";

/** The files of SQLite's log. On Node 20 they stay until a connection that was closed in this process is garbage-collected. */
const LOG = /-(?:wal|shm|wal-owner)$/;

/** Every file and folder below this one with its mode, such as `0600 data/keyctl/keyctl.db`; without SQLite's log. */
export function treeOf(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => !LOG.test(name))
    .toSorted()
    .map((name) => `${(statSync(join(folder, name)).mode & 0o7777).toString(8).padStart(4, "0")} ${name}`);
}
