import { join } from "node:path";
import { absolutePath, homeFolder, inHome } from "../files/home-folder.ts";
import type { Environment } from "./variables.ts";

/** Where keyctl's own folder is, with the store that nobody named in it. */
export function dataFolder(environment: Environment): string {
  if (process.platform === "win32") {
    return environment["LOCALAPPDATA"] ?? join(homeFolder(environment), "AppData", "Local");
  }
  return xdg("XDG_DATA_HOME", environment) ?? join(homeFolder(environment), ".local", "share");
}

/** Where keyctl's own folder is, with the keys in it that could not be stored. */
export function stateFolder(environment: Environment): string {
  if (process.platform === "win32") return dataFolder(environment);
  return xdg("XDG_STATE_HOME", environment) ?? join(homeFolder(environment), ".local", "state");
}

/** Where keyctl's own folder is, with the master keys in it. */
export function configFolder(environment: Environment): string {
  if (process.platform === "win32")
    return environment["APPDATA"] ?? join(homeFolder(environment), "AppData", "Roaming");
  return xdg("XDG_CONFIG_HOME", environment) ?? join(homeFolder(environment), ".config");
}

/** https://specifications.freedesktop.org/basedir-spec: a relative path in these variables is to be ignored. */
function xdg(name: string, environment: Environment): string | undefined {
  return absolutePath(inHome(environment[name] ?? "", environment));
}
