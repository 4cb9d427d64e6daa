import { join } from "node:path";
import { absolutePath, homeFolder, inHome } from "../files/home-folder.ts";
import type { Environment } from "./variables.ts";

/** The parent of keyctl's data folder, which holds the default store. */
export function dataFolder(environment: Environment): string {
  if (process.platform === "win32") {
    return environment["LOCALAPPDATA"] ?? join(homeFolder(environment), "AppData", "Local");
  }
  return xdg("XDG_DATA_HOME", environment) ?? join(homeFolder(environment), ".local", "share");
}

/** The parent of keyctl's state folder, which holds keys that could not be stored. */
export function stateFolder(environment: Environment): string {
  if (process.platform === "win32") return dataFolder(environment);
  return xdg("XDG_STATE_HOME", environment) ?? join(homeFolder(environment), ".local", "state");
}

/** The parent of keyctl's config folder, which holds the master keys. */
export function configFolder(environment: Environment): string {
  if (process.platform === "win32")
    return environment["APPDATA"] ?? join(homeFolder(environment), "AppData", "Roaming");
  return xdg("XDG_CONFIG_HOME", environment) ?? join(homeFolder(environment), ".config");
}

/** https://specifications.freedesktop.org/basedir-spec: a relative path in these variables must be ignored. */
function xdg(name: string, environment: Environment): string | undefined {
  return absolutePath(inHome(environment[name] ?? "", environment));
}
