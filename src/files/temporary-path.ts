import { randomBytes } from "node:crypto";
import { basename, dirname, join } from "node:path";

/** A hidden name next to a file, for its next content until that is complete. */
export function temporaryPath(path: string): string {
  return join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}`);
}
