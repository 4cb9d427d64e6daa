import { join } from "node:path";
import { KeyctlError } from "../core/model/errors.ts";
import { storeVariablesRead } from "../core/model/store-variables.ts";
import { resolvePath } from "../files/home-folder.ts";
import { isSameFile } from "../files/same-file.ts";
import { isSameDatabase, parseMongoUri } from "../stores/mongo/uri.ts";
import { dataFolder } from "./folders.ts";
import { sqlitePath } from "./sqlite-uri.ts";
import { agreedValue, configEmpty, switchOf } from "./variables.ts";
import type { Environment } from "./variables.ts";

export type StorePlace = {
  /** The part of its URI that may be shown: without user, password and options. */
  readonly name: string;
  /** The flag or variable that named it, or `default`. */
  readonly from: string;
} & (
  | { readonly kind: "sqlite"; readonly path: string }
  | { readonly kind: "mongodb"; readonly uri: string; readonly allowNonAtomic: boolean }
);

/** The error code of an invalid store: for a flag, or for a variable. */
type Fault = "USAGE" | "CONFIG_INVALID";

export const DESTINATION_VARIABLES: readonly string[] = ["KEYCTL_COPY_TO", "KEYCTL_COPY_TO_FILE"];

/** The store of a run. Throws USAGE, CONFIG_EMPTY, CONFIG_INVALID, CONFIG_CONFLICT. */
export function storePlace(environment: Environment, flag: string | undefined): StorePlace {
  if (flag !== undefined) return parseStore(flag, "--store", "USAGE", environment);
  const named = uriNamed(environment, storeVariablesRead(environment));
  if (named !== undefined) return parseStore(named.uri, named.from, "CONFIG_INVALID", environment);
  const path = join(dataFolder(environment), "keyctl", "keyctl.db");
  return { kind: "sqlite", path, name: `sqlite:${path}`, from: "default" };
}

/** The store that a copy goes to. Throws as `storePlace`, and CONFIG_CONFLICT. */
export function destinationPlace(environment: Environment, flag: string | undefined): StorePlace {
  const variable = DESTINATION_VARIABLES.find((name) => environment[name] !== undefined);
  if (flag !== undefined && variable !== undefined) {
    throw new KeyctlError("CONFIG_CONFLICT", `--to and ${variable} both name a destination`, {
      hint: `unset ${variable}`,
    });
  }
  if (flag !== undefined) return parseStore(flag, "--to", "USAGE", environment);
  const named = uriNamed(environment, DESTINATION_VARIABLES);
  if (named !== undefined) return parseStore(named.uri, named.from, "CONFIG_INVALID", environment);
  throw new KeyctlError("USAGE", "no destination given", {
    hint: "keyctl copy --to <uri>   or put a URI with a password into KEYCTL_COPY_TO",
  });
}

/** Two names of one file, or one database on the same servers. A pair that is not recognised is harmless: the copy keeps all rows. */
export function isSameStore(one: StorePlace, other: StorePlace): boolean {
  if (one.kind === "sqlite") return other.kind === "sqlite" && isSameFile(one.path, other.path);
  return other.kind === "mongodb" && isSameDatabase(one.name, other.name);
}

/** The URI that these variables hold. */
function uriNamed(environment: Environment, variables: readonly string[]): { uri: string; from: string } | undefined {
  const named = agreedValue(environment, variables);
  if (named === undefined) return undefined;
  const { value: uri, from } = named;
  if (uri === "") throw configEmpty(`the file that ${from} names is empty`, from);
  return { uri, from };
}

/** Does not repeat an invalid URI: it may hold a password. */
function parseStore(uri: string, from: string, code: Fault, environment: Environment): StorePlace {
  if (/^mongodb\b/i.test(uri)) return parseMongoStore(uri, from, code, environment);
  const embedded = sqlitePath(uri);
  if ("problem" in embedded) throw new KeyctlError(code, `${from} ${embedded.problem}`, { hint: embedded.instead });
  const path = resolvePath(embedded.path, environment);
  return { kind: "sqlite", path, name: `sqlite:${path}`, from };
}

function parseMongoStore(uri: string, from: string, code: Fault, environment: Environment): StorePlace {
  const parsed = parseMongoUri(uri);
  if ("problem" in parsed) {
    throw new KeyctlError(code, `${from} ${parsed.problem}`, {
      hint: parsed.hint ?? "mongodb://<host>:<port>/<database>?<option>=<value>",
    });
  }
  const allowNonAtomic = switchOf(environment, "KEYCTL_ALLOW_NON_ATOMIC_STORE", false);
  return { kind: "mongodb", uri, name: parsed.name, from, allowNonAtomic };
}
