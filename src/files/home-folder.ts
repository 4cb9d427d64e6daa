import { isAbsolute, join, resolve } from "node:path";
import { KeyctlError } from "../core/model/errors.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** Never the working folder: an empty or relative HOME counts as unset. Throws CONFIG_INVALID. */
export function homeFolder(environment: Environment): string {
  const path = absolutePath(environment["HOME"]) ?? absolutePath(homeOfThisUser());
  if (path !== undefined) return path;
  throw new KeyctlError("CONFIG_INVALID", "there is no home folder: HOME is not set and this user has none", {
    hint: "set HOME, or XDG_DATA_HOME and XDG_CONFIG_HOME",
  });
}

/**
 * Expands the path of a flag or a variable as a shell would: `~` and `~/…` are the home folder. A shell does not expand `~`
 * after a `:` or a `=`, or in the settings of a service or a container. Every other path stays as it is.
 */
export function inHome(path: string, environment: Environment): string {
  const [, below] = (process.platform === "win32" ? /^~(?:$|[/\\](.*)$)/s : /^~(?:$|\/(.*)$)/s).exec(path) ?? [];
  return below === undefined && path !== "~" ? path : join(homeFolder(environment), below ?? "");
}

/** As `inHome`, resolved against the working folder. If that folder was deleted, the path stays as it is and leads nowhere. */
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
    return undefined; // A user id without an entry in the system's user list, as in containers.
  }
}
