import { join } from "node:path";
import { configFolder, stateFolder } from "./folders.ts";
import { MANAGEMENT_KEY_VARIABLES, managementKey, managementKeyHashes, managementKeyText } from "./management-key.ts";
import { DESTINATION_VARIABLES, destinationPlace, isSameStore, storePlace } from "./store-place.ts";
import type { StorePlace } from "./store-place.ts";
import { MAX_SECRET_BYTES, notEmpty, parsedVariable, readPipes, switchOf } from "./variables.ts";
import type { Environment, VariableForm } from "./variables.ts";
import { isCi } from "../core/model/ci.ts";
import { KeyctlError } from "../core/model/errors.ts";
import { storeVariablesRead } from "../core/model/store-variables.ts";
import type { Actor } from "../core/model/history-event.ts";
import type { PartlyGiven } from "../core/model/partly-given.ts";
import type { ManagementKey } from "../core/model/management-key.ts";
import { DEFAULT_TIMEOUT_MS, clampTimeout } from "../core/async/deadline.ts";
import type { MasterKeyPlace } from "../encryption/master-key-place.ts";
import { resolvePath } from "../files/home-folder.ts";
import type { PipeWait } from "../files/named-file.ts";
import { readRegularFile } from "../files/read-regular-file.ts";
import type { EnvironmentKeyPlace } from "../sources/environment.ts";
import type { KeyFilePlace } from "../sources/key-file.ts";
import type { ProvisioningRules, WantedTerms } from "../core/model/provision-rules.ts";
import { DEFAULT_GRACE_MS, GRACE_FORM, graceMeant, parseGrace } from "../core/model/grace.ts";
import { DURATION_FORM, durationMeant, parseDuration } from "../core/text/duration.ts";
import { environmentForChildren } from "../core/model/child-environment.ts";
import { parseLimit, parseLimitReset, parseWorkspace } from "../core/model/provision-terms.ts";

export type { Environment } from "./variables.ts";

/** Flags that override the environment. */
export interface Overrides {
  readonly store?: string | undefined;
  readonly keyFile?: string | undefined;
  /** For each user, in milliseconds. */
  readonly timeoutMs?: number | undefined;
  readonly autoProvision?: boolean | undefined;
  readonly createStore?: boolean | undefined;
  readonly requireSealed?: boolean | undefined;
  /** Who works here, for the history; the machine says the rest. */
  readonly actor?: PartlyGiven<Actor> | undefined;
}

/** The settings from flags and environment, checked once. Secrets are read when they are needed. */
export interface Config {
  readonly store: StorePlace;
  /** A named store that is missing may be created, by commands that create stores. */
  readonly createStore: boolean;
  readonly keyFile: KeyFilePlace;
  readonly environmentKey: () => EnvironmentKeyPlace;
  /** How long this run waits for a pipe that a person named. */
  readonly pipeWait: PipeWait;
  readonly masterKeys: MasterKeyPlace;
  /** The places of master keys that come after it, and that nobody reads: variables that are set, files that are there. */
  readonly masterKeysNotRead: () => readonly string[];
  /** A row that holds its key in plain text is unreadable. It is said outside of the database, where nobody who writes to it can unset it. */
  readonly requireSealed: boolean;
  readonly hasManagementKey: () => boolean;
  /** Undefined without a management key. Throws CONFIG_INVALID for an invalid one. */
  readonly managementKey: () => ManagementKey | undefined;
  /** The hashes of all configured management keys that can be read now. Throws nothing. */
  readonly managementKeyHashes: () => ReadonlySet<string>;
  /** The address is checked when it is used; the proxy variables are in the environment. */
  readonly openRouter: { readonly url: string | undefined; readonly environment: Environment };
  readonly autoProvision: boolean;
  /** CI is set: nobody watches this run. */
  readonly ci: boolean;
  readonly provisioning: Omit<ProvisioningRules, "refusal">;
  /** How long an old key goes on working after a rotation, in milliseconds. Throws CONFIG_EMPTY, CONFIG_INVALID. */
  readonly rotateGraceMs: () => number;
  /** The folder of keys that could not be stored. */
  readonly spoolFolder: string;
  readonly timeoutMs: number;
  /** For how many days the history is kept. Throws CONFIG_EMPTY, CONFIG_INVALID. */
  readonly historyDays: () => number;
  /** Who changes something here, for the history. Asks the machine, so only where it is needed. */
  readonly actor: () => Promise<Actor>;
  /** For commands that may create a key. */
  readonly makingTimeoutMs: number;
}

const MAKING_TIMEOUT_MS = 90_000;
const DEFAULT_MAX_PER_HOUR = 60;
const DEFAULT_HISTORY_DAYS = 400;
const MAX_HISTORY_DAYS = 36_500;

const LIMIT = { parse: parseLimit, form: "an amount in USD such as 10 or 2.50, or none", example: "10" };
const LIMIT_RESET = { parse: parseLimitReset, form: "daily, weekly or monthly", example: "monthly" };
const LIFETIME = { parse: parseDuration, form: DURATION_FORM, example: "90d", meant: durationMeant };
const WORKSPACE = { parse: parseWorkspace, form: "a workspace's id as OpenRouter shows it", example: "<id>" };
const GRACE = { parse: parseGrace, form: GRACE_FORM, example: "10m", meant: graceMeant };
const HISTORY_DAYS = {
  parse: parseHistoryDays,
  form: `a number of days from 1 to ${MAX_HISTORY_DAYS}`,
  example: String(DEFAULT_HISTORY_DAYS),
};
const MAX_PER_HOUR = {
  parse: parseCount,
  form: "a number of keys such as 60, or 0 for no limit",
  example: String(DEFAULT_MAX_PER_HOUR),
};

/** As `readConfig`, also of pipes that variables name; these are waited for. */
export async function openConfig(
  environment: Environment,
  overrides: Overrides,
  signal?: AbortSignal,
): Promise<Config> {
  const ofStore = overrides.store === undefined ? storeVariablesRead(environment) : [];
  // The other half of the time is for what comes after the pipe.
  const timeMs = overrides.timeoutMs === undefined ? undefined : overrides.timeoutMs / 2;
  const pipeWait = { timeMs, signal };
  await readPipes(environment, [...MANAGEMENT_KEY_VARIABLES, ...ofStore], pipeWait);
  return Object.freeze({ ...readConfig(environment, overrides), pipeWait });
}

/** As `openConfig`, but with the destination store of a copy. */
export async function openDestination(
  environment: Environment,
  source: Config,
  flag: string | undefined,
): Promise<Config> {
  await readPipes(environment, DESTINATION_VARIABLES, source.pipeWait);
  return readDestination(environment, source, flag);
}

/** Throws CONFIG_EMPTY, CONFIG_INVALID, CONFIG_CONFLICT (from the environment) or USAGE (from a flag). */
export function readConfig(environment: Environment, overrides: Overrides = {}): Config {
  const store = storePlace(environment, overrides.store);
  const masterKeys = masterKeyPlace(environment);
  return Object.freeze({
    store,
    createStore: overrides.createStore ?? switchOf(environment, "KEYCTL_CREATE_STORE", false),
    keyFile: keyFilePlace(environment, overrides.keyFile),
    environmentKey: () => environmentKeyPlace(environment),
    pipeWait: {},
    masterKeys,
    masterKeysNotRead: () => masterKeysNotRead(environment, masterKeys),
    requireSealed: overrides.requireSealed ?? requireSealed(environment, store),
    hasManagementKey: () => managementKeyText(environment) !== undefined,
    managementKey: () => managementKey(environment),
    managementKeyHashes: () => managementKeyHashes(environment),
    openRouter: { url: notEmpty(environment, "KEYCTL_OPENROUTER_URL")?.trim(), environment },
    autoProvision: overrides.autoProvision ?? switchOf(environment, "KEYCTL_AUTO_PROVISION", true),
    ci: isCi(environment),
    provisioning: {
      terms: (given: Partial<WantedTerms>) => provisionTerms(environment, given),
      maxPerHour: () => maxPerHour(environment),
    },
    rotateGraceMs: () => parsedVariable(environment, "KEYCTL_ROTATE_GRACE", GRACE) ?? DEFAULT_GRACE_MS,
    historyDays: () => parsedVariable(environment, "KEYCTL_HISTORY_DAYS", HISTORY_DAYS) ?? DEFAULT_HISTORY_DAYS,
    spoolFolder: join(stateFolder(environment), "keyctl", "spool"),
    timeoutMs: clampTimeout(overrides.timeoutMs ?? DEFAULT_TIMEOUT_MS),
    actor: async () => (await import("./actor.ts")).actorHere(environment, overrides.actor),
    makingTimeoutMs: clampTimeout(overrides.timeoutMs ?? MAKING_TIMEOUT_MS),
  });
}

/** The same, but with the destination store of a copy. Throws as `readConfig`. */
export function readDestination(environment: Environment, source: Config, flag: string | undefined): Config {
  const store = destinationPlace(environment, flag);
  if (!isSameStore(source.store, store)) {
    return Object.freeze({ ...source, store, requireSealed: requireSealed(environment, store) });
  }
  throw new KeyctlError("USAGE", `${store.from} is the store to copy from`, {
    hint: "--store <uri> names the one, and --to <uri> the other",
  });
}

/** MongoDB may have programs that write keys in plain text beside us; an embedded store has none. */
function requireSealed(environment: Environment, { kind }: StorePlace): boolean {
  return switchOf(environment, "KEYCTL_REQUIRE_SEALED", kind === "sqlite");
}

function keyFilePlace(environment: Environment, flag: string | undefined): KeyFilePlace {
  const named = flag ?? (environment["KEYCTL_KEY_FILE"] || undefined);
  return { path: resolvePath(named ?? "key.txt", environment), named: named !== undefined };
}

/** Set but empty counts as unset. */
function environmentKeyPlace(environment: Environment): EnvironmentKeyPlace {
  const path = environment["OPENROUTER_API_KEY_FILE"] || undefined;
  return {
    text: environment["OPENROUTER_API_KEY"] || undefined,
    path: path === undefined ? undefined : resolvePath(path, environment),
  };
}

function masterKeyPlace(environment: Environment): MasterKeyPlace {
  const text = notEmpty(environment, "KEYCTL_MASTER_KEYS");
  if (text !== undefined) return { kind: "text", from: "KEYCTL_MASTER_KEYS", text };
  const file = notEmpty(environment, "KEYCTL_MASTER_KEYS_FILE");
  if (file !== undefined)
    return { kind: "file", from: "KEYCTL_MASTER_KEYS_FILE", path: resolvePath(file, environment) };
  const command = notEmpty(environment, "KEYCTL_MASTER_KEYS_COMMAND");
  if (command !== undefined) {
    return {
      kind: "command",
      from: "KEYCTL_MASTER_KEYS_COMMAND",
      command,
      environment: environmentForChildren(environment),
    };
  }
  const credential = credentialPath(environment);
  if (credential !== undefined && isPresent(credential)) return { kind: "credential", path: credential };
  return { kind: "default-file", path: defaultMasterKeys(environment) };
}

function credentialPath(environment: Environment): string | undefined {
  const folder = environment["CREDENTIALS_DIRECTORY"];
  return folder === undefined || folder === "" ? undefined : join(folder, "keyctl-master-keys");
}

function defaultMasterKeys(environment: Environment): string {
  return join(configFolder(environment), "keyctl", "master-keys.json");
}

function isPresent(path: string): boolean {
  return readRegularFile(path, MAX_SECRET_BYTES).status !== "absent";
}

/** In the order in which they would be read. */
function masterKeysNotRead(environment: Environment, used: MasterKeyPlace): readonly string[] {
  const variables = ["KEYCTL_MASTER_KEYS", "KEYCTL_MASTER_KEYS_FILE", "KEYCTL_MASTER_KEYS_COMMAND"];
  const files = [credentialPath(environment), defaultMasterKeys(environment)].filter((path) => path !== undefined);
  const places = [...variables.filter((name) => environment[name] !== undefined), ...files.filter(isPresent)];
  const usedPath = "path" in used ? used.path : undefined;
  const at = places.indexOf("from" in used ? used.from : used.path);
  return places.slice(at + 1).filter((place) => place !== usedPath);
}

/** The terms of a new key: a variable applies unless a value is given. */
function provisionTerms(environment: Environment, given: Partial<WantedTerms>): WantedTerms {
  const read = <Value>(name: string, form: VariableForm<Value>) =>
    parsedVariable(environment, `KEYCTL_PROVISION_${name}`, form) ?? null;
  const { expiresAt } = given;
  const {
    label = null,
    limit = read("LIMIT", LIMIT),
    limitReset = read("LIMIT_RESET", LIMIT_RESET),
    expiresInMs = expiresAt === undefined ? read("EXPIRES_IN", LIFETIME) : null,
    workspace = read("WORKSPACE", WORKSPACE),
  } = given;
  const end = expiresAt === undefined ? {} : { expiresAt };
  return { label, limit, limitReset, expiresInMs, ...end, workspace };
}

function parseCount(text: string): number | undefined {
  return /^\d{1,6}$/.test(text) ? Number(text) : undefined;
}

function parseHistoryDays(text: string): number | undefined {
  const days = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return days >= 1 && days <= MAX_HISTORY_DAYS ? days : undefined;
}

function maxPerHour(environment: Environment): number {
  return parsedVariable(environment, "KEYCTL_MAX_PROVISIONS_PER_HOUR", MAX_PER_HOUR) ?? DEFAULT_MAX_PER_HOUR;
}
