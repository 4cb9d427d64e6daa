import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";

/** Every file and folder below this one with its mode, such as `0600 data/keyctl/keyctl.db`. */
export function treeOf(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .toSorted()
    .map((name) => `${(statSync(join(folder, name)).mode & 0o7777).toString(8).padStart(4, "0")} ${name}`);
}
