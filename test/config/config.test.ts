import { mkdirSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join, resolve } from "node:path";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { readConfig, readDestination } from "../../src/config/config.ts";
import type { Config, Environment, Overrides } from "../../src/config/config.ts";
import type { KeyctlError } from "../../src/core/model/errors.ts";
import { environmentKey } from "../../src/sources/environment.ts";
import { utf16leWithBom } from "../support/fixtures/encodings.ts";
import { emptyHome } from "../support/home/home.ts";
import { BIN, keyctl } from "../support/programs/keyctl.ts";

const HOME = "/home/alice";
const MANAGEMENT = "OPENROUTER_PROVISIONING_KEY";
const MANAGEMENT_NEW = "OPENROUTER_MANAGEMENT_KEY";

const configOf = (environment: Environment = {}, overrides: Overrides = {}): Config =>
  readConfig({ HOME, ...environment }, overrides);

/** A file with this content, in a folder that goes with the test. */
function file(content: string | Uint8Array): string {
  const path = join(emptyHome().work, "secret");
  writeFileSync(path, content);
  return path;
}

describe("the store", () => {
  it.each<readonly [string, Environment, Overrides, string, string]>([
    ["the default", {}, {}, `${HOME}/.local/share/keyctl/keyctl.db`, "default"],
    ["the XDG folder", { XDG_DATA_HOME: "/data" }, {}, "/data/keyctl/keyctl.db", "default"],
    ["not a relative XDG folder", { XDG_DATA_HOME: "data" }, {}, `${HOME}/.local/share/keyctl/keyctl.db`, "default"],
    ["not an empty XDG folder", { XDG_DATA_HOME: "" }, {}, `${HOME}/.local/share/keyctl/keyctl.db`, "default"],
    ["KEYCTL_STORE", { KEYCTL_STORE: "sqlite:/a.db" }, {}, "/a.db", "KEYCTL_STORE"],
    ["--store before KEYCTL_STORE", { KEYCTL_STORE: "sqlite:/a.db" }, { store: "sqlite:/b.db" }, "/b.db", "--store"],
    ["--store before an empty KEYCTL_STORE", { KEYCTL_STORE: "" }, { store: "sqlite:/b.db" }, "/b.db", "--store"],
    [
      "--store before MongoDB's variables",
      { MONGODB_URI: "mongodb://a/b" },
      { store: "sqlite:/b.db" },
      "/b.db",
      "--store",
    ],
    [
      "--store before variables that contradict each other",
      { KEYCTL_STORE: "sqlite:/a.db", KEYCTL_STORE_FILE: "/nowhere", MONGODB_URI: "x", MONGO_URI: "y" },
      { store: "sqlite:/b.db" },
      "/b.db",
      "--store",
    ],
    [
      "KEYCTL_STORE before MongoDB's variables",
      { KEYCTL_STORE: "sqlite:/a.db", MONGODB_URI: "mongodb://a/b" },
      {},
      "/a.db",
      "KEYCTL_STORE",
    ],
    [
      "KEYCTL_STORE before MongoDB's variables that contradict each other",
      { KEYCTL_STORE: "sqlite:/a.db", MONGODB_URI: "mongodb://a/b", MONGO_URI: "mongodb://a/c" },
      {},
      "/a.db",
      "KEYCTL_STORE",
    ],
    [
      "MONGODB_URI and MONGO_URI with one value",
      { MONGODB_URI: "sqlite:/a.db", MONGO_URI: " sqlite:/a.db\n" },
      {},
      "/a.db",
      "MONGODB_URI",
    ],
    ["MONGO_URI last", { MONGO_URI: "sqlite:/b.db" }, {}, "/b.db", "MONGO_URI"],
    ["an address with slashes", { KEYCTL_STORE: "sqlite:///srv/a.db" }, {}, "/srv/a.db", "KEYCTL_STORE"],
    ["an address with many slashes", { KEYCTL_STORE: "sqlite:////srv/a.db" }, {}, "/srv/a.db", "KEYCTL_STORE"],
    ["a relative path", { KEYCTL_STORE: "sqlite:a.db" }, {}, resolve("a.db"), "KEYCTL_STORE"],
    ["in the home folder", { KEYCTL_STORE: "sqlite:~/a.db" }, {}, `${HOME}/a.db`, "KEYCTL_STORE"],
    ["in the home folder by a flag", {}, { store: "sqlite:~/b/a.db" }, `${HOME}/b/a.db`, "--store"],
    ["by MONGODB_URI there, too", { MONGODB_URI: "sqlite:~/a.db" }, {}, `${HOME}/a.db`, "MONGODB_URI"],
    ["named as a backup is", { KEYCTL_STORE: "sqlite:a.db~" }, {}, resolve("a.db~"), "KEYCTL_STORE"],
    ["named with ~ in front", { KEYCTL_STORE: "sqlite:~a.db" }, {}, resolve("~a.db"), "KEYCTL_STORE"],
    ["in a folder named ~", { KEYCTL_STORE: "sqlite:./~/a.db" }, {}, resolve("./~/a.db"), "KEYCTL_STORE"],
    ["named with a question mark", { KEYCTL_STORE: "sqlite:what?.db" }, {}, resolve("what?.db"), "KEYCTL_STORE"],
    ["the XDG folder at home", { XDG_DATA_HOME: "~/data" }, {}, `${HOME}/data/keyctl/keyctl.db`, "default"],
  ])("is %s", (_name, environment, overrides, path, from) => {
    expect(configOf(environment, overrides).store).toEqual({ kind: "sqlite", path, name: `sqlite:${path}`, from });
  });

  it("is what KEYCTL_STORE_FILE holds, before MongoDB's variables", () => {
    const from = "KEYCTL_STORE_FILE";
    for (const content of ["sqlite:/c.db", "sqlite:/c.db\r\n", utf16leWithBom("sqlite:/c.db\r\n")]) {
      const environment = { KEYCTL_STORE_FILE: file(content), MONGODB_URI: "mongodb://a/b" };
      expect(configOf(environment).store).toEqual({ kind: "sqlite", path: "/c.db", name: "sqlite:/c.db", from });
    }
  });

  it.each<readonly [from: string, Environment, Overrides, name: string]>([
    ["KEYCTL_STORE", { KEYCTL_STORE: "mongodb://db.prod/keyctl" }, {}, "mongodb://db.prod/keyctl"],
    ["KEYCTL_STORE", { KEYCTL_STORE: " mongodb://db.prod/keyctl\n" }, {}, "mongodb://db.prod/keyctl"],
    ["KEYCTL_STORE", { KEYCTL_STORE: "mongodb+srv://u:hunter2@db.prod/keyctl" }, {}, "mongodb+srv://db.prod/keyctl"],
    ["MONGODB_URI", { MONGODB_URI: "mongodb://u:hunter2@a:1,b:2/k?replicaSet=r" }, {}, "mongodb://a:1,b:2/k"],
    ["MONGO_URI", { MONGO_URI: "mongodb://u:p%40ss@[::1]:27018/keyctl" }, {}, "mongodb://[::1]:27018/keyctl"],
    ["--store", {}, { store: "mongodb://db.prod/keyctl?tls=true" }, "mongodb://db.prod/keyctl"],
  ])("is a MongoDB by %s, and its name has no user, password or options", (from, environment, overrides, name) => {
    const uri = (overrides.store ?? Object.values(environment)[0] ?? "").trim();
    const store = { kind: "mongodb", uri, name, from, allowNonAtomic: false };
    expect(configOf(environment, overrides).store).toEqual(store);
  });

  it("is the MongoDB that KEYCTL_STORE_FILE names", () => {
    const environment = { KEYCTL_STORE_FILE: file("mongodb://u:hunter2@db.prod/keyctl\n") };
    expect(configOf(environment).store).toMatchObject({
      kind: "mongodb",
      uri: "mongodb://u:hunter2@db.prod/keyctl",
      name: "mongodb://db.prod/keyctl",
    });
  });

  it("lets two changes win only where KEYCTL_ALLOW_NON_ATOMIC_STORE says so", () => {
    const environment = { KEYCTL_STORE: "mongodb://db.prod/keyctl", KEYCTL_ALLOW_NON_ATOMIC_STORE: "1" };
    expect(configOf(environment).store).toMatchObject({ allowNonAtomic: true });
  });

  it.each([
    ["KEYCTL_STORE", ""],
    ["KEYCTL_STORE", " \n"],
    ["KEYCTL_STORE_FILE", ""],
    ["MONGODB_URI", ""],
    ["MONGO_URI", ""],
    ["KEYCTL_MASTER_KEYS", ""],
    ["KEYCTL_MASTER_KEYS_FILE", ""],
    ["KEYCTL_MASTER_KEYS_COMMAND", " "],
  ])("%s=%j is CONFIG_EMPTY", (name, value) => {
    expect(() => configOf({ [name]: value })).toThrow(
      expect.objectContaining({ code: "CONFIG_EMPTY", message: `${name} is set but empty` }),
    );
  });

  it("an empty KEYCTL_STORE_FILE's file is CONFIG_EMPTY too", () => {
    for (const content of ["", " \n"]) {
      expect(() => configOf({ KEYCTL_STORE_FILE: file(content) })).toThrow(
        expect.objectContaining({ code: "CONFIG_EMPTY" }),
      );
    }
  });

  it.each(["postgres://u:hunter2@db/x", "/srv/keyctl.db", "sqlite:", "sqlite", "sqlite:a\0b"])(
    "refuses %j without repeating it",
    (uri) => {
      const refusal = { code: "CONFIG_INVALID", message: "KEYCTL_STORE is not a store that keyctl knows" };
      expect(() => configOf({ KEYCTL_STORE: uri })).toThrow(expect.objectContaining(refusal));
      expect(() => configOf({}, { store: uri })).toThrow(expect.objectContaining({ code: "USAGE" }));
    },
  );

  it.each<readonly [uri: string, problem: string, hint: string]>([
    ["sqlite://rel.db", "has // before a path that is not from the root", "sqlite:keys.db"],
    ["sqlite://localhost/srv/a.db", "has // before a path that is not from the root", "sqlite:/srv/keys.db"],
    ["sqlite://", "has // before a path that is not from the root", "sqlite:keys.db"],
    [
      "sqlite:///keys.db",
      "can be read in two ways",
      "sqlite:<name> in the working folder, or sqlite:/<name> in the root",
    ],
    ["sqlite:///~/keys.db", "has // before its path", "sqlite:~/<path>"],
    ["sqlite://~/keys.db", "has // before its path", "sqlite:~/<path>"],
    ["sqlite::memory:", "names no file: keys in memory are gone with the process", "sqlite:<path>"],
    ["sqlite:///:memory:", "names no file: keys in memory are gone with the process", "sqlite:<path>"],
    ["sqlite::memory:?cache=shared", "names no file: keys in memory are gone with the process", "sqlite:<path>"],
    [":memory:", "names no file: keys in memory are gone with the process", "sqlite:<path>"],
    ["sqlite:keys.db?mode=ro", "has options behind its path", "sqlite:<path>"],
    ["sqlite:///srv/keys.db?mode=ro&cache=shared", "has options behind its path", "sqlite:<path>"],
    ["sqlite:file:keys.db", "has file: before its path", "sqlite:<path>"],
    ["sqlite:file:keys.db?mode=ro", "has file: before its path", "sqlite:<path>"],
    ["file:keys.db", "has file: before its path", "sqlite:<path>"],
    ["file:///srv/keys.db", "has file: before its path", "sqlite:<path>"],
    ["sqlite:~bob/keys.db", "names another user's home folder by ~", "write that path in full"],
    ["sqlite:$HOME/keys.db", "holds an unresolved variable", "sqlite:~/keys.db"],
    ["sqlite:${HOME}/keys.db", "holds an unresolved variable", "sqlite:~/keys.db"],
    ["sqlite:/srv/${APP}/keys.db", "holds an unresolved variable", "sqlite:/srv/keys.db"],
    ["sqlite:///$HOME/keys.db", "holds an unresolved variable", "sqlite:~/keys.db"],
    ["sqlite:%APPDATA%/keys.db", "holds an unresolved variable", "sqlite:~/keys.db"],
    ["sqlite:{{ store }}", "holds an unresolved variable", "sqlite:keys.db"],
  ])("refuses %s, and says what to write", (uri, problem, hint) => {
    const says = (from: string) => ({ message: `${from} ${problem}`, hint: expect.stringContaining(hint) as string });
    const refusal = { code: "CONFIG_INVALID", ...says("KEYCTL_STORE") };
    expect(() => configOf({ KEYCTL_STORE: uri })).toThrow(expect.objectContaining(refusal));
    const usage = { code: "USAGE", ...says("--store") };
    expect(() => configOf({}, { store: uri })).toThrow(expect.objectContaining(usage));
    const destination = { code: "USAGE", ...says("--to") };
    expect(() => readDestination({ HOME }, configOf(), uri)).toThrow(expect.objectContaining(destination));
  });

  it.each<readonly [string, (home: ReturnType<typeof emptyHome>) => string, string]>([
    ["is not there", ({ work }) => join(work, "nothing"), "it does not exist"],
    ["is a directory", ({ work }) => work, "it is a directory"],
    ["is not text", () => file(Buffer.from([0xff, 0x00, 0xff])), "it is not text"],
    ["is larger than a secret", () => file(Buffer.alloc(65 * 1024, "x")), "it is larger than 64 KiB"],
  ])("a file that %s is CONFIG_INVALID", (_name, path, problem) => {
    expect(() => configOf({ KEYCTL_STORE_FILE: path(emptyHome()) })).toThrow(
      expect.objectContaining({
        code: "CONFIG_INVALID",
        message: `the file that KEYCTL_STORE_FILE names cannot be used: ${problem}`,
      }),
    );
  });

  it.each([undefined, "", "here"])("is in the home of the system's list when HOME is %j", (home) => {
    const { store, masterKeys } = configOf({ HOME: home });
    expect(store).toMatchObject({ path: join(userInfo().homedir, ".local/share/keyctl/keyctl.db") });
    expect(masterKeys).toMatchObject({ path: join(userInfo().homedir, ".config/keyctl/master-keys.json") });
  });
});

type Read = (environment: Environment) => unknown;
const store: Read = (environment) => configOf(environment).store;
const destination: Read = (environment) => readDestination({ HOME, ...environment }, configOf(), undefined).store;
const management: Read = (environment) => configOf(environment).hasManagementKey();
const userKey: Read = async (environment) => environmentKey(configOf(environment).environmentKey, () => false).read();

/** The variable with this value, in a file with a line end if its name asks for one. */
const set = (name: string, value: string) => ({ [name]: name.endsWith("_FILE") ? file(`${value}\r\n`) : value });

describe("a value that two variables hold", () => {
  /** Every variable beside its `_FILE` form, and every two names of one value; `value(n)` is a valid one. */
  const PAIRS: readonly (readonly [one: string, other: string, read: Read, value: (n: number) => string])[] = [
    ["KEYCTL_STORE", "KEYCTL_STORE_FILE", store, mongoUri],
    ["MONGODB_URI", "MONGODB_URI_FILE", store, mongoUri],
    ["MONGO_URI", "MONGO_URI_FILE", store, mongoUri],
    ["MONGODB_URI", "MONGO_URI", store, mongoUri],
    ["MONGODB_URI", "MONGO_URI_FILE", store, mongoUri],
    ["MONGODB_URI_FILE", "MONGO_URI", store, mongoUri],
    ["MONGODB_URI_FILE", "MONGO_URI_FILE", store, mongoUri],
    ["KEYCTL_COPY_TO", "KEYCTL_COPY_TO_FILE", destination, mongoUri],
    [MANAGEMENT, `${MANAGEMENT}_FILE`, management, keyText],
    [MANAGEMENT_NEW, `${MANAGEMENT_NEW}_FILE`, management, keyText],
    [MANAGEMENT, MANAGEMENT_NEW, management, keyText],
    ["OPENROUTER_API_KEY", "OPENROUTER_API_KEY_FILE", userKey, keyText],
  ];

  it.each(PAIRS)("is used if %s and %s agree", async (one, other, read, value) => {
    const together = await read({ ...set(one, value(1)), ...set(other, value(1)) });
    const alone = await read(set(one, value(1)));
    expect(together).toEqual(alone);
  });

  it.each(PAIRS)("is CONFIG_CONFLICT if %s and %s differ, and is not repeated", async (one, other, read, value) => {
    const environment = { ...set(one, value(1)), ...set(other, value(2)) };
    const error = await (async () => read(environment))().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "CONFIG_CONFLICT" });
    const { message, hint } = error as KeyctlError;
    expect(message).toContain(`${one} and ${other} hold different`);
    expect(hint).toMatch(/^unset [A-Z_]+( {3}|$)/);
    expect(`${message}\n${hint}`).not.toContain("hunter");
  });

  it("does not agree with a file that cannot be read", () => {
    const environment = { KEYCTL_STORE: mongoUri(1), KEYCTL_STORE_FILE: "/nowhere" };
    expect(() => configOf(environment)).toThrow(expect.objectContaining({ code: "CONFIG_CONFLICT" }));
  });

  it("is CONFIG_EMPTY if one of them is empty, in either order", () => {
    for (const [empty, full] of [
      ["KEYCTL_STORE", "KEYCTL_STORE_FILE"],
      ["KEYCTL_STORE_FILE", "KEYCTL_STORE"],
      ["MONGODB_URI", "MONGO_URI"],
      ["MONGO_URI", "MONGODB_URI"],
    ] as const) {
      const environment = { ...set(full, mongoUri(1)), [empty]: "" };
      expect(() => configOf(environment)).toThrow(expect.objectContaining({ code: "CONFIG_EMPTY" }));
    }
  });
});

function mongoUri(n: number): string {
  return `mongodb://u:hunter${n}@db.prod/keyctl`;
}

function keyText(n: number): string {
  return `sk-or-v1-hunter${n}-key`;
}

describe("key.txt", () => {
  it.each<readonly [string, Environment, Overrides, string, boolean]>([
    ["./key.txt", {}, {}, resolve("key.txt"), false],
    ["KEYCTL_KEY_FILE", { KEYCTL_KEY_FILE: "/a.txt" }, {}, "/a.txt", true],
    ["--key-file before it", { KEYCTL_KEY_FILE: "/a.txt" }, { keyFile: "b.txt" }, resolve("b.txt"), true],
    ["in the home folder", { KEYCTL_KEY_FILE: "~/a.txt" }, {}, `${HOME}/a.txt`, true],
    ["in the home folder by a flag", {}, { keyFile: "~/b.txt" }, `${HOME}/b.txt`, true],
    ["./key.txt when the variable is empty", { KEYCTL_KEY_FILE: "" }, {}, resolve("key.txt"), false],
  ])("is %s", (_name, environment, overrides, path, named) => {
    expect(configOf(environment, overrides).keyFile).toEqual({ path, named });
  });
});

describe("OPENROUTER_API_KEY", () => {
  const unset = { text: undefined, path: undefined };

  it.each<readonly [string, Environment, object]>([
    ["unset", {}, unset],
    ["empty: as unset", { OPENROUTER_API_KEY: "" }, unset],
    ["set", { OPENROUTER_API_KEY: "sk-or-v1-test-key" }, { ...unset, text: "sk-or-v1-test-key" }],
    ["blank, which is not empty", { OPENROUTER_API_KEY: " " }, { ...unset, text: " " }],
    ["its file's name empty: as unset", { OPENROUTER_API_KEY_FILE: "" }, unset],
    ["its file", { OPENROUTER_API_KEY_FILE: "secret" }, { ...unset, path: resolve("secret") }],
    ["its file at home", { OPENROUTER_API_KEY_FILE: "~/secret" }, { ...unset, path: `${HOME}/secret` }],
  ])("%s", (_name, environment, place) => {
    expect(configOf(environment).environmentKey()).toEqual(place);
  });
});

describe("the management key", () => {
  it.each<readonly [string, Environment, boolean]>([
    ["unset", {}, false],
    ["its first name", { [MANAGEMENT]: "a" }, true],
    ["its new name", { [MANAGEMENT_NEW]: "a" }, true],
    ["both names with one value", { [MANAGEMENT]: "a", [MANAGEMENT_NEW]: "a" }, true],
    ["both names, one with a line end", { [MANAGEMENT]: "a", [MANAGEMENT_NEW]: "a\n" }, true],
    ["empty: as unset", { [MANAGEMENT]: "", [MANAGEMENT_NEW]: "" }, false],
    ["one empty, one set", { [MANAGEMENT]: "", [MANAGEMENT_NEW]: "a" }, true],
    ["blank: as unset", { [MANAGEMENT]: " \n" }, false],
  ])("%s", (_name, environment, is) => {
    expect(configOf(environment).hasManagementKey()).toBe(is);
  });

  it("comes from its file, in which a line end does not count", () => {
    const path = file("a\n");
    expect(configOf({ [`${MANAGEMENT}_FILE`]: path }).hasManagementKey()).toBe(true);
    expect(configOf({ [`${MANAGEMENT}_FILE`]: path, [MANAGEMENT_NEW]: "a" }).hasManagementKey()).toBe(true);
    expect(configOf({ [`${MANAGEMENT}_FILE`]: file("\n") }).hasManagementKey()).toBe(false);
  });

  it.each<readonly [string, Environment]>([
    ["two variables", { [MANAGEMENT]: "hunter2", [MANAGEMENT_NEW]: "hunter3" }],
    ["a variable and a file", { [MANAGEMENT]: "hunter2", [`${MANAGEMENT_NEW}_FILE`]: "hunter3\n" }],
  ])("with two values in %s is CONFIG_CONFLICT", (_name, environment) => {
    const name = `${MANAGEMENT_NEW}_FILE`;
    const content = environment[name];
    const config = configOf(content === undefined ? environment : { ...environment, [name]: file(content) });
    expect(() => config.hasManagementKey()).toThrow(
      expect.objectContaining({
        code: "CONFIG_CONFLICT",
        message: `${MANAGEMENT} and ${MANAGEMENT_NEW} hold different keys`,
      }),
    );
  });
});

describe("the master keys", () => {
  const TEXT = { KEYCTL_MASTER_KEYS: "text" };
  const FILE = { KEYCTL_MASTER_KEYS_FILE: "/keys.json" };
  const COMMAND = { KEYCTL_MASTER_KEYS_COMMAND: "pass show keyctl" };

  it.each<readonly [string, Environment, object]>([
    ["the variable first", { ...TEXT, ...FILE, ...COMMAND }, { kind: "text", text: "text" }],
    ["then the file", { ...FILE, ...COMMAND }, { kind: "file", from: "KEYCTL_MASTER_KEYS_FILE", path: "/keys.json" }],
    ["the file at home", { KEYCTL_MASTER_KEYS_FILE: "~/keys.json" }, { path: `${HOME}/keys.json` }],
    ["then the command", COMMAND, { kind: "command", command: "pass show keyctl" }],
    ["the default file last", {}, { kind: "default-file", path: `${HOME}/.config/keyctl/master-keys.json` }],
    [
      "it in the XDG folder",
      { XDG_CONFIG_HOME: "/conf" },
      { kind: "default-file", path: "/conf/keyctl/master-keys.json" },
    ],
    [
      "it, but not in a relative XDG folder",
      { XDG_CONFIG_HOME: "conf" },
      { path: `${HOME}/.config/keyctl/master-keys.json` },
    ],
    ["it, when systemd gives no such credential", { CREDENTIALS_DIRECTORY: "/nowhere" }, { kind: "default-file" }],
  ])("come from %s", (_name, environment, place) => {
    expect(configOf(environment).masterKeys).toMatchObject(place);
  });

  it("come from systemd's credentials before the default file, also where those cannot be read", () => {
    const { work } = emptyHome();
    const path = join(work, "keyctl-master-keys");
    mkdirSync(path);
    expect(configOf({ CREDENTIALS_DIRECTORY: work }).masterKeys).toEqual({ kind: "credential", path });
  });

  it("come from a command that gets none of our secrets", () => {
    const secrets = {
      OPENROUTER_API_KEY: "a",
      [MANAGEMENT]: "b",
      [MANAGEMENT_NEW]: "c",
      MONGODB_URI: "sqlite:/d",
      MONGO_URI: "sqlite:/d",
    };
    const { masterKeys } = configOf({ ...COMMAND, ...secrets, PATH: "/bin" });
    expect(masterKeys).toMatchObject({ environment: { HOME, PATH: "/bin", ...COMMAND } });
    for (const name of Object.keys(secrets)) expect(masterKeys).not.toHaveProperty(["environment", name]);
  });
});

describe("what variables name at home", () => {
  it("is read there", () => {
    const { folder, work } = emptyHome();
    writeFileSync(join(folder, "management"), "a\n");
    writeFileSync(join(folder, "store"), `sqlite:${join(work, "a.db")}\n`);
    const config = configOf({
      HOME: folder,
      [`${MANAGEMENT}_FILE`]: "~/management",
      KEYCTL_STORE_FILE: "~/store",
    });
    expect([config.hasManagementKey(), config.managementKeyHashes().size]).toEqual([true, 1]);
    expect(config.store).toMatchObject({ path: join(work, "a.db"), from: "KEYCTL_STORE_FILE" });
  });

  it("is in the home of the system's list where HOME is not set", () => {
    const { keyFile } = readConfig({ KEYCTL_KEY_FILE: "~/a.txt" });
    expect(keyFile.path).toBe(join(userInfo().homedir, "a.txt"));
  });
});

describe("CI", () => {
  it.each(["", " ", "0", "false", "FALSE", "no", "off"])("is not set by CI=%j", (value) => {
    expect(configOf({ CI: value }).ci).toBe(false);
  });

  it.each(["1", "true", "yes", "woodpecker"])("is set by CI=%j", (value) => {
    expect(configOf({ CI: value }).ci).toBe(true);
  });
});

describe("the rest", () => {
  it.each<readonly [string | undefined, boolean]>([
    [undefined, true],
    ["1", true],
    ["yes", true],
    ["0", false],
    ["false", false],
    ["OFF", false],
  ])("KEYCTL_AUTO_PROVISION=%s makes autoProvision %s", (value, expected) => {
    expect(configOf({ KEYCTL_AUTO_PROVISION: value }).autoProvision).toBe(expected);
    expect(configOf({ KEYCTL_AUTO_PROVISION: value }, { autoProvision: !expected }).autoProvision).toBe(!expected);
  });

  it.each(["KEYCTL_AUTO_PROVISION", "KEYCTL_CREATE_STORE", "KEYCTL_REQUIRE_SEALED"])(
    "an empty %s, as a missing CI variable is, is CONFIG_EMPTY",
    (name) => {
      for (const empty of ["", " "]) {
        expect(() => configOf({ [name]: empty })).toThrow(expect.objectContaining({ code: "CONFIG_EMPTY" }));
      }
    },
  );

  it.each(["maybe", "toString", "__proto__"])("KEYCTL_AUTO_PROVISION=%j is CONFIG_INVALID", (value) => {
    expect(() => configOf({ KEYCTL_AUTO_PROVISION: value })).toThrow(
      expect.objectContaining({ code: "CONFIG_INVALID" }),
    );
  });

  it.each<readonly [number | undefined, number]>([
    [undefined, 30_000],
    [1500, 1500],
    [90 * 86_400_000, 2 ** 31 - 1],
  ])("a time-out of %s ms is %s ms", (timeoutMs, expected) => {
    expect(configOf({}, { timeoutMs }).timeoutMs).toBe(expected);
  });

  it.each([-1, Number.NaN])("a time-out of %s ms is USAGE", (timeoutMs) => {
    expect(() => configOf({}, { timeoutMs })).toThrow(expect.objectContaining({ code: "USAGE" }));
  });

  it.each<readonly [string | undefined, number]>([
    [undefined, 600_000],
    ["0", 0],
    ["24h", 86_400_000],
  ])("KEYCTL_ROTATE_GRACE=%s is a grace of %s ms", (value, expected) => {
    expect(configOf({ KEYCTL_ROTATE_GRACE: value }).rotateGraceMs()).toBe(expected);
  });

  it.each([
    ["", "CONFIG_EMPTY"],
    ["31d", "CONFIG_INVALID"],
    ["soon", "CONFIG_INVALID"],
  ])("KEYCTL_ROTATE_GRACE=%j is %s where it is read", (value, code) => {
    const { rotateGraceMs } = configOf({ KEYCTL_ROTATE_GRACE: value });
    expect(rotateGraceMs).toThrow(expect.objectContaining({ code }));
  });

  it.each<readonly [string | undefined, number]>([
    [undefined, 400],
    ["1", 1],
    ["36500", 36_500],
  ])("KEYCTL_HISTORY_DAYS=%s keeps the history for %s days", (value, expected) => {
    expect(configOf({ KEYCTL_HISTORY_DAYS: value }).historyDays()).toBe(expected);
  });

  it.each([
    ["", "CONFIG_EMPTY"],
    ["0", "CONFIG_INVALID"],
    ["36501", "CONFIG_INVALID"],
    ["-1", "CONFIG_INVALID"],
    ["400d", "CONFIG_INVALID"],
  ])("KEYCTL_HISTORY_DAYS=%j is %s where it is read", (value, code) => {
    const { historyDays } = configOf({ KEYCTL_HISTORY_DAYS: value });
    expect(historyDays).toThrow(expect.objectContaining({ code }));
  });

  it("does not change any more", () => {
    expect(Object.isFrozen(configOf())).toBe(true);
  });
});

describe("keyctl", () => {
  it.each<readonly [string, NodeJS.ProcessEnv, string]>([
    ["a MongoDB store without a database", { MONGODB_URI: "mongodb://u:hunter2@db.prod" }, "CONFIG_INVALID"],
    ["an empty store variable", { KEYCTL_STORE: "" }, "CONFIG_EMPTY"],
    ["two management keys", { [MANAGEMENT]: "hunter2", [MANAGEMENT_NEW]: "hunter3" }, "CONFIG_CONFLICT"],
    ["a missing secret file", { [`${MANAGEMENT}_FILE`]: "/nowhere/hunter2" }, "CONFIG_INVALID"],
  ])("exits 4 on %s and repeats no secret", async (_name, env, code) => {
    const run = await keyctl(emptyHome(), ["sync", "--user", "alice", "--json"], { env });
    expect(JSON.parse(run.stdout)).toMatchObject({ error: { code, exit_code: 4 } });
    expect(run.stdout + run.stderr).not.toContain("hunter");
    expect(run.code).toBe(4);
  });

  it("works in a folder that was deleted under it", async () => {
    const home = emptyHome();
    const script = 'rmdir "$PWD" && exec "$@"';
    const run = await execa("sh", ["-c", script, "sh", process.execPath, BIN, "sync", "--user", "alice", "--json"], {
      cwd: home.work,
      extendEnv: false,
      env: { ...home.environment, OPENROUTER_API_KEY: "sk-or-v1-test-key" },
    });
    expect(JSON.parse(run.stdout)).toMatchObject({ source: "environment", warnings: [], error: null });
  });
});
