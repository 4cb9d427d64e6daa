import { octal } from "../text/format.ts";
import type { Warning } from "./warning.ts";

/** @param name how the file with keys is named */
export function keyFileModeWarning(name: string, mode: number): Warning {
  const message = `${name} can be read by other users of this machine (mode ${octal(mode)}); chmod 600 it`;
  return { code: "KEY_FILE_MODE", message };
}
