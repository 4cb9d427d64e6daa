import { octal } from "../text/format.ts";
import type { Warning } from "./warning.ts";

/** How others can read a file that only its user should read. */
export interface OpenMode {
  readonly mode: number;
  /** Whether this process can change the mode. */
  readonly modeCanChange: boolean;
}

/** @param name how the file with keys is named */
export function keyFileModeWarning(name: string, { mode, modeCanChange }: OpenMode): Warning {
  const problem = `${name} can be read by other users of this machine (mode ${octal(mode)})`;
  if (modeCanChange) return { code: "KEY_FILE_MODE", message: `${problem}; chmod 600 it` };
  return { code: "KEY_FILE_MODE", message: `${problem}; ${OWNER_OR_MOUNT}`, fixable: false };
}

/** What the mode of a file of another owner, or on a read-only mount, depends on. */
export const OWNER_OR_MOUNT = "only its owner, or the options of its mount, can change that";
