import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

/** A command that was not started: `problem` completes a sentence that begins with it. */
export interface NotStarted {
  readonly kind: "not-started";
  readonly exitCode: 126 | 127;
  readonly problem: string;
}

export const NO_INTERPRETER = "cannot be run: its interpreter was not found";

/** Why the system did not start this file, with the exit code that shells give: 126 for a file that is there, else 127. */
export function whyNotStarted(file: string, systemCode: string, path: string | undefined): NotStarted {
  if (systemCode === "ENOENT") {
    if (isThere(file, path)) return refused(NO_INTERPRETER);
    return { kind: "not-started", exitCode: 127, problem: "was not found" };
  }
  if (isFolder(file)) return refused("cannot be run: it is a folder");
  return refused(`cannot be run (${systemCode})`);
}

function refused(problem: string): NotStarted {
  return { kind: "not-started", exitCode: 126, problem };
}

/** The system reports a script without its interpreter as it reports a missing file. */
function isThere(file: string, path = ""): boolean {
  if (process.platform === "win32" || file === "") return false;
  if (file.includes("/")) return existsSync(file);
  return path.split(delimiter).some((folder) => existsSync(join(folder === "" ? "." : folder, file)));
}

function isFolder(file: string): boolean {
  return file.includes("/") && existsSync(`${file}/.`);
}
