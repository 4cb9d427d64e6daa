import { accessSync, constants, realpathSync, statSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import type { HostFacts } from "../../../core/doctor/checks/machine.ts";
import { isTrackedByGit } from "./git.ts";
import { storeVariablesNotRead } from "../../../core/model/store-variables.ts";
import type { Invocation, StoreName } from "../../invocation.ts";
import { storeLabel } from "../../views/store-label.ts";
import { variablesSet } from "../../variable-meanings.ts";

/** The facts about this machine that doctor checks. */
export async function inspectHost(
  { environment, program, keyPlaces }: Invocation,
  store: StoreName | null,
  signal: AbortSignal,
): Promise<HostFacts> {
  const { path } = keyPlaces["key.txt"];
  const mode = modeOf(path);
  return {
    storeLabel: store === null ? "" : storeLabel(store),
    keyFile: {
      path,
      mode,
      readableBy: readersOf(mode),
      isTracked: mode !== null && (await isTrackedByGit(resolve(path), environment, signal)),
    },
    variables: variablesFor(environment, store),
    // Node uses the same comparison.
    asksForNoVerification: environment["NODE_TLS_REJECT_UNAUTHORIZED"] === "0",
    otherKeyctl: otherKeyctl(environment["PATH"] ?? "", program),
  };
}

/** `KEYCTL_STORE`, `MONGODB_URI (not read: KEYCTL_STORE names the store)`. */
function variablesFor(environment: Invocation["environment"], store: StoreName | null): readonly string[] {
  const notRead = store === null ? [] : storeVariablesNotRead(environment, store.from);
  return variablesSet(environment).map((name) =>
    notRead.includes(name) ? `${name} (not read: ${store?.from} names the store)` : name,
  );
}

function modeOf(path: string): number | null {
  try {
    return statSync(path).mode & 0o777;
  } catch {
    return null;
  }
}

function readersOf(mode: number | null): "group" | "others" | null {
  if (mode === null || process.platform === "win32") return null;
  if ((mode & 0o004) !== 0) return "others";
  return (mode & 0o040) !== 0 ? "group" : null;
}

/** The first `keyctl` on the PATH, unless it is this program. Null on Windows: npm's shims cannot be distinguished. */
function otherKeyctl(path: string, program: string): string | null {
  if (process.platform === "win32") return null;
  const files = path.split(delimiter).map((folder) => join(folder === "" ? "." : folder, "keyctl"));
  const first = files.find(isProgram);
  return first === undefined || realPath(first) === realPath(program) ? null : first;
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
