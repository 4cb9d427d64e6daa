import { isAbsolute, join, resolve } from "node:path";
import { parseDuration } from "./cli/duration.ts";
import { parseLimit, parseLimitReset, parseWorkspace } from "./cli/terms.ts";
import { KeyctlError } from "./core/errors.ts";
import { ManagementKey } from "./core/management-key.ts";
import { DEFAULT_TIMEOUT_MS, timeLimit } from "./core/patience.ts";
import type { ProvisioningRules, WantedTerms } from "./core/provisioning.ts";
import { SECRET_VARIABLES } from "./core/secret-variables.ts";
import type { MasterKeyPlace } from "./encryption/master-keys.ts";
import { decodeText } from "./files/decode-text.ts";
import { readRegularFile } from "./files/read-regular-file.ts";
import { isSameFile } from "./files/same-file.ts";
import type { KeyFilePlace } from "./sources/key-file.ts";
import { isSameDatabase, parseMongoUri } from "./stores/mongo-uri.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** What flags may say over the environment. */
export interface Overrides {
  readonly store?: string | undefined;
  readonly keyFile?: string | undefined;
  /** For each user, in milliseconds. */
  readonly timeoutMs?: number | undefined;
  readonly autoProvision?: boolean | undefined;
}

type StorePlace = {
  /** What may be shown of its URI: without user, password and options. */
  readonly name: string;
  /** The flag or variable that named it, or `default`. */
  readonly from: string;
} & (
  | { readonly kind: "sqlite"; readonly path: string }
  | { readonly kind: "mongodb"; readonly uri: string; readonly allowNonAtomic: boolean }
);

/** Everything that flags and environment say, checked once. What is secret is read when it is needed. */
export interface Config {
  readonly store: StorePlace;
  readonly keyFile: KeyFilePlace;
  readonly environmentKey: () => string | undefined;
  readonly masterKeys: MasterKeyPlace;
  readonly hasManagementKey: () => boolean;
  /** Undefined when there is none. Throws CONFIG_INVALID for what cannot be one. */
  readonly managementKey: () => ManagementKey | undefined;
  /** The address is checked when it is used; the variables of the proxies are in the environment. */
  readonly openRouter: { readonly url: string | undefined; readonly environment: Environment };
  readonly autoProvision: boolean;
  /** CI is set: nobody watches this run. */
  readonly ci: boolean;
  readonly provisioning: Omit<ProvisioningRules, "refusal">;
  /** The folder in which keys wait that could not be stored. */
  readonly spoolFolder: string;
  readonly timeoutMs: number;
  /** Where a key may be made. */
  readonly makingTimeoutMs: number;
}

const MAKING_TIMEOUT_MS = 90_000;
const DEFAULT_MAX_PER_HOUR = 60;
const MAX_SECRET_BYTES = 64 * 1024;
const STORE_VARIABLES = ["KEYCTL_STORE", "MONGODB_URI", "MONGO_URI"].flatMap((name) => [name, `${name}_FILE`]);
const DESTINATION_VARIABLES = ["KEYCTL_COPY_TO", "KEYCTL_COPY_TO_FILE"];
const MANAGEMENT_VARIABLES = ["OPENROUTER_PROVISIONING_KEY", "OPENROUTER_MANAGEMENT_KEY"] as const;
const SWITCH: ReadonlyMap<string, boolean> = new Map([
  ["1", true],
  ["true", true],
  ["yes", true],
  ["on", true],
  ["0", false],
  ["false", false],
  ["no", false],
  ["off", false],
]);

/** Throws CONFIG_EMPTY, CONFIG_INVALID, CONFIG_CONFLICT (from the environment) or USAGE (from a flag). */
export function readConfig(environment: Environment, overrides: Overrides = {}): Config {
  return Object.freeze({
    store: storePlace(environment, overrides.store),
    keyFile: keyFilePlace(environment, overrides.keyFile),
    environmentKey: () => secret(environment, "OPENROUTER_API_KEY"),
    masterKeys: masterKeyPlace(environment),
    hasManagementKey: () => managementKeyText(environment) !== undefined,
    managementKey: () => managementKey(environment),
    openRouter: { url: notEmpty(environment, "KEYCTL_OPENROUTER_URL")?.trim(), environment },
    autoProvision: overrides.autoProvision ?? switchOf(environment, "KEYCTL_AUTO_PROVISION", true),
    ci: Boolean(environment["CI"]),
    provisioning: { terms: provisionTerms(environment), maxPerHour: maxPerHour(environment) },
    spoolFolder: join(stateFolder(environment), "keyctl", "spool"),
    timeoutMs: timeLimit(overrides.timeoutMs ?? DEFAULT_TIMEOUT_MS),
    makingTimeoutMs: timeLimit(overrides.timeoutMs ?? MAKING_TIMEOUT_MS),
  });
}

/** The same in all but the store, which is the one that a copy goes to. Throws as `readConfig`. */
export function readDestination(environment: Environment, source: Config, flag: string | undefined): Config {
  const store = destinationPlace(environment, flag);
  if (!isSameStore(source.store, store)) return Object.freeze({ ...source, store });
  throw new KeyctlError("USAGE", `${store.from} names the store that is to be copied from`, {
    hint: "--store <uri> names the one, and --to <uri> the other",
  });
}

function destinationPlace(environment: Environment, flag: string | undefined): StorePlace {
  const [name, another] = [
    ...(flag === undefined ? [] : ["--to"]),
    ...DESTINATION_VARIABLES.filter((variable) => environment[variable] !== undefined),
  ];
  if (another !== undefined) {
    throw new KeyctlError("CONFIG_CONFLICT", `${name} and ${another} both name a destination`, {
      hint: `unset ${another}`,
    });
  }
  if (flag !== undefined) return parseStore(flag, "--to", "USAGE", environment);
  const named = firstNamed(environment, DESTINATION_VARIABLES);
  if (named !== undefined) return parseStore(named.uri, named.from, "CONFIG_INVALID", environment);
  throw new KeyctlError("USAGE", "no destination is named", {
    hint: "keyctl copy --to <uri>   or put a URI with a password into KEYCTL_COPY_TO",
  });
}

/** Two names of one file, or one database of the same servers. A store that is missed here keeps all its rows. */
function isSameStore(one: StorePlace, other: StorePlace): boolean {
  if (one.kind === "sqlite") return other.kind === "sqlite" && isSameFile(one.path, other.path);
  return other.kind === "mongodb" && isSameDatabase(one.name, other.name);
}

function storePlace(environment: Environment, flag: string | undefined): StorePlace {
  if (flag !== undefined) return parseStore(flag, "--store", "USAGE", environment);
  const named = firstNamed(environment, STORE_VARIABLES);
  if (named !== undefined) return parseStore(named.uri, named.from, "CONFIG_INVALID", environment);
  const path = join(dataFolder(environment), "keyctl", "keyctl.db");
  return { kind: "sqlite", path, name: `sqlite:${path}`, from: "default" };
}

/** The first of these variables that is set; `_FILE` ones name a file that holds the URI. */
function firstNamed(environment: Environment, names: readonly string[]): { uri: string; from: string } | undefined {
  for (const name of names) {
    const value = notEmpty(environment, name);
    if (value === undefined) continue;
    const uri = (name.endsWith("_FILE") ? readSecretFile(value, name) : value).trim();
    if (uri === "") throw empty(`the file that ${name} names is empty`, name);
    return { uri, from: name };
  }
  return undefined;
}

function parseStore(uri: string, from: string, code: "USAGE" | "CONFIG_INVALID", environment: Environment): StorePlace {
  if (/^mongodb\b/i.test(uri)) return parseMongoStore(uri, from, code, environment);
  const path = uri.startsWith("sqlite:") ? uri.slice("sqlite:".length) : "";
  if (path === "" || path.includes("\0") || path.includes("://")) {
    throw new KeyctlError(code, `${from} is not a store that keyctl knows`, {
      hint: "name an embedded store, sqlite:<path>, or mongodb://<host>/<database>",
    });
  }
  const absolute = fromHere(path);
  return { kind: "sqlite", path: absolute, name: `sqlite:${absolute}`, from };
}

function parseMongoStore(
  uri: string,
  from: string,
  code: "USAGE" | "CONFIG_INVALID",
  environment: Environment,
): StorePlace {
  const parsed = parseMongoUri(uri);
  if ("problem" in parsed) {
    throw new KeyctlError(code, `${from} ${parsed.problem}`, {
      hint: "mongodb://<host>:<port>/<database>?<option>=<value>",
    });
  }
  const allowNonAtomic = switchOf(environment, "KEYCTL_ALLOW_NON_ATOMIC_STORE", false);
  return { kind: "mongodb", uri, name: parsed.name, from, allowNonAtomic };
}

function keyFilePlace(environment: Environment, flag: string | undefined): KeyFilePlace {
  const named = flag ?? (environment["KEYCTL_KEY_FILE"] || undefined);
  return { path: fromHere(named ?? "key.txt"), named: named !== undefined };
}

function masterKeyPlace(environment: Environment): MasterKeyPlace {
  const text = notEmpty(environment, "KEYCTL_MASTER_KEYS");
  if (text !== undefined) return { kind: "text", from: "KEYCTL_MASTER_KEYS", text };
  const file = notEmpty(environment, "KEYCTL_MASTER_KEYS_FILE");
  if (file !== undefined) return { kind: "file", from: "KEYCTL_MASTER_KEYS_FILE", path: fromHere(file) };
  const command = notEmpty(environment, "KEYCTL_MASTER_KEYS_COMMAND");
  if (command !== undefined) {
    return { kind: "command", from: "KEYCTL_MASTER_KEYS_COMMAND", command, environment: withoutSecrets(environment) };
  }
  const credentials = environment["CREDENTIALS_DIRECTORY"];
  if (credentials !== undefined && credentials !== "") {
    const path = join(credentials, "keyctl-master-keys");
    if (readRegularFile(path, MAX_SECRET_BYTES).status !== "absent") return { kind: "credential", path };
  }
  return { kind: "default-file", path: join(configFolder(environment), "keyctl", "master-keys.json") };
}

/** Both names of the management key are read; that they differ is a mistake somebody must look at. */
function managementKeyText(environment: Environment): string | undefined {
  const values = MANAGEMENT_VARIABLES.flatMap((name) => secret(environment, name)?.trim() || []);
  if (new Set(values).size > 1) {
    throw new KeyctlError("CONFIG_CONFLICT", `${MANAGEMENT_VARIABLES.join(" and ")} hold different keys`, {
      hint: `unset ${MANAGEMENT_VARIABLES[0]}: it is the older name`,
    });
  }
  return values[0];
}

function managementKey(environment: Environment): ManagementKey | undefined {
  const text = managementKeyText(environment);
  if (text === undefined) return undefined;
  const key = ManagementKey.parse(text);
  if (key !== undefined) return key;
  throw new KeyctlError("CONFIG_INVALID", `${MANAGEMENT_VARIABLES.join(" or ")} does not hold a management key`, {
    hint: "make one at https://openrouter.ai/settings/management-keys",
  });
}

/** The variable, or the content of the file that its `_FILE` form names. Set but empty is unset. */
function secret(environment: Environment, name: string): string | undefined {
  const value = environment[name] || undefined;
  const path = environment[`${name}_FILE`] || undefined;
  if (value !== undefined && path !== undefined) {
    throw new KeyctlError("CONFIG_CONFLICT", `${name} and ${name}_FILE are both set`, { hint: `unset ${name}` });
  }
  return path === undefined ? value : readSecretFile(path, `${name}_FILE`);
}

function readSecretFile(path: string, from: string): string {
  const file = readRegularFile(path, MAX_SECRET_BYTES);
  const problem =
    file.status === "absent" ? "it does not exist" : file.status === "unreadable" ? file.reason : undefined;
  const text = file.status === "read" ? decodeText(file.bytes) : undefined;
  if (text === undefined) {
    throw new KeyctlError(
      "CONFIG_INVALID",
      `the file that ${from} names cannot be used: ${problem ?? "it is not text"}`,
      {
        hint: `check ${from}`,
      },
    );
  }
  return text;
}

/** A CI secret that is missing arrives as an empty string, and must not turn into a fresh, empty, green store. */
function notEmpty(environment: Environment, name: string): string | undefined {
  const value = environment[name];
  if (value === undefined || value.trim() !== "") return value;
  throw empty(`${name} is set but empty`, name);
}

function empty(message: string, name: string): KeyctlError {
  return new KeyctlError("CONFIG_EMPTY", message, { hint: `give ${name} a value, or unset it` });
}

/** What a new key may do unless a flag says otherwise. */
function provisionTerms(environment: Environment): WantedTerms {
  const read = <Value>(name: string, parse: (text: string) => Value | undefined, example: string) =>
    parsedVariable(environment, `KEYCTL_PROVISION_${name}`, parse, example);
  return {
    label: null,
    limit: read("LIMIT", parseLimit, "10, or none") ?? null,
    limitReset: read("LIMIT_RESET", parseLimitReset, "daily, weekly or monthly") ?? null,
    expiresInMs: read("EXPIRES_IN", parseDuration, "90d") ?? null,
    workspace: read("WORKSPACE", parseWorkspace, "a workspace's id") ?? null,
  };
}

function parseCount(text: string): number | undefined {
  return /^\d{1,6}$/.test(text) ? Number(text) : undefined;
}

function maxPerHour(environment: Environment): number {
  return (
    parsedVariable(environment, "KEYCTL_MAX_PROVISIONS_PER_HOUR", parseCount, "60, or 0 for no limit") ??
    DEFAULT_MAX_PER_HOUR
  );
}

/** Undefined when it is not set; set but empty is unset. */
function parsedVariable<Value>(
  environment: Environment,
  name: string,
  parse: (text: string) => Value | undefined,
  example: string,
): Value | undefined {
  const text = environment[name]?.trim();
  if (text === undefined || text === "") return undefined;
  const value = parse(text);
  if (value !== undefined) return value;
  throw new KeyctlError("CONFIG_INVALID", `${name} does not hold what it should`, { hint: `${name} is ${example}` });
}

function switchOf(environment: Environment, name: string, otherwise: boolean): boolean {
  const value = environment[name];
  if (value === undefined || value === "") return otherwise;
  const known = SWITCH.get(value.toLowerCase());
  if (known === undefined) throw new KeyctlError("CONFIG_INVALID", `${name} is neither 0 nor 1`, { hint: `${name}=0` });
  return known;
}

/** KEYCTL_STORE too: a URI in it may hold a password. */
function withoutSecrets(environment: Environment): Environment {
  const secrets = new Set([...SECRET_VARIABLES, "KEYCTL_STORE"]);
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !secrets.has(name)));
}

/** https://specifications.freedesktop.org/basedir-spec: a relative path in these variables is to be ignored. */
function dataFolder(environment: Environment): string {
  if (process.platform === "win32") return environment["LOCALAPPDATA"] ?? join(home(environment), "AppData", "Local");
  return absolutePath(environment["XDG_DATA_HOME"]) ?? join(home(environment), ".local", "share");
}

function stateFolder(environment: Environment): string {
  if (process.platform === "win32") return dataFolder(environment);
  return absolutePath(environment["XDG_STATE_HOME"]) ?? join(home(environment), ".local", "state");
}

function configFolder(environment: Environment): string {
  if (process.platform === "win32") return environment["APPDATA"] ?? join(home(environment), "AppData", "Roaming");
  return absolutePath(environment["XDG_CONFIG_HOME"]) ?? join(home(environment), ".config");
}

/** Against the working folder; left as it is when that was deleted under us: nothing is found there then. */
function fromHere(path: string): string {
  try {
    return resolve(path);
  } catch {
    return path;
  }
}

function absolutePath(path: string | undefined): string | undefined {
  return path !== undefined && isAbsolute(path) ? path : undefined;
}

/** Never the working folder: a HOME that is empty or relative is as good as none. */
function home(environment: Environment): string {
  const path = absolutePath(environment["HOME"]) ?? absolutePath(homeOfThisUser());
  if (path !== undefined) return path;
  throw new KeyctlError("CONFIG_INVALID", "there is no home folder: HOME is not set and this user has none", {
    hint: "set HOME, or XDG_DATA_HOME and XDG_CONFIG_HOME",
  });
}

function homeOfThisUser(): string | undefined {
  try {
    return process.getBuiltinModule("node:os").userInfo().homedir;
  } catch {
    return undefined; // A user id without an entry in the system's list, as containers have them.
  }
}
