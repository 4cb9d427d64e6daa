import { isAbsolute, join, resolve } from "node:path";
import { KeyctlError } from "../core/model/errors.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** Never the working folder: a HOME that is empty or relative is as good as none. Throws CONFIG_INVALID. */
export function homeFolder(environment: Environment): string {
  const path = absolutePath(environment["HOME"]) ?? absolutePath(homeOfThisUser());
  if (path !== undefined) return path;
  throw new KeyctlError("CONFIG_INVALID", "there is no home folder: HOME is not set and this user has none", {
    hint: "set HOME, or XDG_DATA_HOME and XDG_CONFIG_HOME",
  });
}

/**
 * The path of a flag or a variable as a shell would give it: `~` and `~/…` are the home folder. No shell has seen what
 * stands behind a `:` or a `=`, or comes from a service's or a container's settings. Every other path is as it stands.
 */
export function inHome(path: string, environment: Environment): string {
  const [, below] = (process.platform === "win32" ? /^~(?:$|[/\\](.*)$)/s : /^~(?:$|\/(.*)$)/s).exec(path) ?? [];
  return below === undefined && path !== "~" ? path : join(homeFolder(environment), below ?? "");
}

/** As `inHome`, against the working folder; left as it is when that was deleted under us: nothing is found there then. */
export function resolvePath(path: string, environment: Environment): string {
  const expanded = inHome(path, environment);
  try {
    return resolve(expanded);
  } catch {
    return expanded;
  }
}

export function absolutePath(path: string | undefined): string | undefined {
  return path !== undefined && isAbsolute(path) ? path : undefined;
}

function homeOfThisUser(): string | undefined {
  try {
    return process.getBuiltinModule("node:os").userInfo().homedir;
  } catch {
    return undefined; // A user id without an entry in the system's list, as containers have them.
  }
}
