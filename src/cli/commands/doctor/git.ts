import { execFile } from "node:child_process";
import { basename, dirname } from "node:path";
import { environmentForChildren } from "../../../core/model/child-environment.ts";

const LIMIT_MS = 2000;

/**
 * Whether git tracks this file. False without git, without a repository, or without an answer in time. Git gets no
 * secret and no variable of its own (`GIT_…`): such a variable could select another repository, or make git run or
 * write something.
 */
export function isTrackedByGit(
  path: string,
  environment: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal,
): Promise<boolean> {
  const tame = Object.entries(environmentForChildren(environment)).filter(([name]) => !name.startsWith("GIT_"));
  const env = { ...Object.fromEntries(tame), GIT_OPTIONAL_LOCKS: "0", GIT_TERMINAL_PROMPT: "0" };
  const words = ["--literal-pathspecs", "-c", "core.fsmonitor=false", "ls-files", "--error-unmatch", "--"];
  return new Promise((resolve) => {
    try {
      const options = { cwd: dirname(path), env, timeout: LIMIT_MS, killSignal: "SIGKILL", signal } as const;
      execFile("git", [...words, basename(path)], options, (error) => resolve(error === null));
    } catch {
      resolve(false);
    }
  });
}
