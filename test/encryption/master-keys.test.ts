import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { decodeProtectedHeader } from "jose";
import { describe, expect, it } from "vitest";
import { withDatabase } from "../support/sqlite/database.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { jwkSet, newJwk } from "../support/fixtures/jwk.ts";
import type { Jwk } from "../support/fixtures/jwk.ts";
import { inProcess } from "../support/programs/in-process.ts";
import type { Run } from "../support/programs/keyctl.ts";
import { allThatIsStored, masterKeysInUse, sealedValues, writeSealedValue } from "../support/fixtures/stored-rows.ts";
import { treeOf } from "../support/home/tree.ts";

const KEY = "sk-or-v1-0000000000000000000000000000000000000000000000000000000000b465";
const OTHER = "sk-or-v1-1111111111111111111111111111111111111111111111111111111191aa";
const fromEnvironment = { OPENROUTER_API_KEY: KEY };

type Variables = Readonly<Record<string, string>>;

/** Puts master keys into a place and gives the environment that names it. */
interface Place {
  readonly name: string;
  readonly put: (home: Home, keys: string) => Variables;
}

const PLACES: readonly Place[] = [
  { name: "KEYCTL_MASTER_KEYS", put: (_, keys) => ({ KEYCTL_MASTER_KEYS: keys }) },
  {
    name: "KEYCTL_MASTER_KEYS_FILE",
    put: (home, keys) => ({ KEYCTL_MASTER_KEYS_FILE: write(join(home.folder, "elsewhere", "keys"), keys) }),
  },
  {
    name: "KEYCTL_MASTER_KEYS_COMMAND",
    put(home, keys) {
      write(join(home.folder, "vault"), keys);
      return { KEYCTL_MASTER_KEYS_COMMAND: 'cat "$HOME/vault"' };
    },
  },
  {
    name: "CREDENTIALS_DIRECTORY",
    put: (home, keys) => ({
      CREDENTIALS_DIRECTORY: dirname(write(join(home.folder, "credentials", "keyctl-master-keys"), keys)),
    }),
  },
  {
    name: "the default file",
    put(home, keys) {
      write(home.masterKeys, keys);
      return {};
    },
  },
];

function write(path: string, content: string, mode = 0o600): string {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(path, content, { mode });
  chmodSync(path, mode);
  return path;
}

/** A store in which alice has KEY, sealed with this master key, which is in no place. */
async function sealedStore(home: Home, master: Jwk): Promise<void> {
  const env = { ...fromEnvironment, KEYCTL_MASTER_KEYS: master.k };
  expect(await inProcess(home, ["sync", "--user", "alice"], { env })).toMatchObject({ code: 0 });
}

function codeIn(run: Run): unknown {
  return (JSON.parse(run.stdout) as { error: { code: string } | null }).error?.code;
}

function expectNoKeyIn(run: Run, ...more: readonly Jwk[]): void {
  for (const secret of [KEY, OTHER, ...more.map(({ k }) => k)]) expect(run.stdout + run.stderr).not.toContain(secret);
}

describe("master keys are found", () => {
  it.each(PLACES)("in $name", async ({ put }) => {
    const home = emptyHome();
    const master = newJwk();
    const env = put(home, jwkSet(master));
    const synced = await inProcess(home, ["sync", "--user", "alice"], { env: { ...fromEnvironment, ...env } });
    expect(synced).toMatchObject({ code: 0, stderr: synced.log });
    const got = await inProcess(home, ["get", "--user", "alice", "--reveal"], { env });
    expect(got).toMatchObject({ code: 0, stdout: `${KEY}\n`, stderr: "" });
    expect(await masterKeysInUse(home)).toStrictEqual([master.kid]);
    expect(existsSync(home.masterKeys)).toBe(existsSync(dirname(home.masterKeys)));
  });

  it.each(PLACES)("as one bare base64url key in $name", async ({ put }) => {
    const home = emptyHome();
    const master = newJwk();
    const env = { ...fromEnvironment, ...put(home, `${master.k}\n`) };
    expect(await inProcess(home, ["sync", "--user", "alice"], { env })).toMatchObject({ code: 0 });
    expect(await masterKeysInUse(home)).toStrictEqual([master.kid]);
  });

  it("in the first place that is there", async () => {
    const home = emptyHome();
    const masters = PLACES.map(newJwk);
    const variables = PLACES.map((place, index) => place.put(home, jwkSet(masters[index] ?? newJwk())));
    for (const [index, master] of masters.entries()) {
      const env = { ...fromEnvironment, ...Object.assign({}, ...variables.slice(index)) };
      expect(await inProcess(home, ["sync", "--user", "alice"], { env })).toMatchObject({ code: 0 });
      expect(await masterKeysInUse(home), PLACES[index]?.name).toStrictEqual([master.kid]);
      rmSync(dirname(home.database), { recursive: true });
    }
  });

  it("in the default file when the credentials of the service are others", async () => {
    const home = emptyHome();
    const master = newJwk();
    write(join(home.folder, "credentials", "something-else"), "x");
    write(home.masterKeys, jwkSet(master));
    const env = { ...fromEnvironment, CREDENTIALS_DIRECTORY: join(home.folder, "credentials") };
    expect(await inProcess(home, ["sync", "--user", "alice"], { env })).toMatchObject({ code: 0 });
    expect(await masterKeysInUse(home)).toStrictEqual([master.kid]);
  });

  it("through a symbolic link, as Kubernetes mounts secrets", async () => {
    const home = emptyHome();
    const master = newJwk();
    const link = join(home.folder, "keys");
    symlinkSync(write(join(home.folder, "..data", "keys"), jwkSet(master)), link);
    const env = { ...fromEnvironment, KEYCTL_MASTER_KEYS_FILE: link };
    expect(await inProcess(home, ["sync", "--user", "alice"], { env })).toMatchObject({ code: 0 });
    expect(await masterKeysInUse(home)).toStrictEqual([master.kid]);
  });
});

describe("a place of master keys that cannot be used", () => {
  it.each([
    ["KEYCTL_MASTER_KEYS", ""],
    ["KEYCTL_MASTER_KEYS", " \n"],
    ["KEYCTL_MASTER_KEYS_FILE", ""],
    ["KEYCTL_MASTER_KEYS_COMMAND", ""],
  ])("%s set to %j is CONFIG_EMPTY, and no key is made", async (name, value) => {
    const home = emptyHome();
    const env = { ...fromEnvironment, [name]: value };
    for (const command of ["sync", "list"]) {
      const run = await inProcess(home, [command, ...(command === "list" ? [] : ["--user", "alice"]), "--json"], {
        env,
      });
      expect(run).toMatchObject({ code: 4 });
      expect(codeIn(run)).toBe("CONFIG_EMPTY");
      expect(run.stderr).toContain(`error: ${name} is set but empty\n`);
    }
    expect(treeOf(home.folder)).toHaveLength(1);
  });

  const master = newJwk();
  const wrongKid = jwkSet({ ...master, kid: newJwk().kid });
  const UNUSABLE: readonly (readonly [what: string, put: (home: Home) => Variables, message: RegExp])[] = [
    ...PLACES.map(
      (place) =>
        [
          `a wrong kid in ${place.name}`,
          (home: Home) => place.put(home, wrongKid),
          /^error: \S+ has a key number 1 whose kid is not its RFC 7638 thumbprint: it was changed or mistyped$/m,
        ] as const,
    ),
    ...PLACES.filter(({ name }) => name !== "KEYCTL_MASTER_KEYS").map(
      (place) =>
        [
          `nothing in ${place.name}`,
          (home: Home) => place.put(home, ""),
          /^error: \S+ does not hold 32 bytes in base64url$/m,
        ] as const,
    ),
    [
      "a file that is not there",
      (home) => ({ KEYCTL_MASTER_KEYS_FILE: join(home.folder, "nowhere") }),
      /^error: KEYCTL_MASTER_KEYS_FILE names a file that is not there$/m,
    ],
    [
      "a folder in place of a file",
      (home) => ({ KEYCTL_MASTER_KEYS_FILE: home.folder }),
      /^error: KEYCTL_MASTER_KEYS_FILE could not be read: it is a directory$/m,
    ],
    [
      "a file of 65 KiB",
      (home) => ({ KEYCTL_MASTER_KEYS_FILE: write(join(home.folder, "big"), " ".repeat(65 * 1024)) }),
      /^error: KEYCTL_MASTER_KEYS_FILE could not be read: it is larger than 64 KiB$/m,
    ],
    [
      "a default file that is a link to nothing",
      (home) => {
        mkdirSync(dirname(home.masterKeys), { recursive: true });
        symlinkSync(join(home.folder, "usb-stick", "keys"), home.masterKeys);
        return {};
      },
      /^error: \S+master-keys\.json could not be read: it is a symbolic link to nothing$/m,
    ],
    [
      "a default folder that cannot be made",
      () => ({ XDG_CONFIG_HOME: "/proc" }),
      /^error: the first master key could not be written to \/proc\/keyctl\/master-keys\.json \(\w+\)$/m,
    ],
  ];
  it.each(UNUSABLE)("is CONFIG_INVALID, and nothing is stored: %s", async (_, put, message) => {
    const home = emptyHome();
    const env = { ...fromEnvironment, ...put(home) };
    const run = await inProcess(home, ["sync", "--user", "alice", "--json"], { env });
    expect(run).toMatchObject({ code: 4 });
    expect(codeIn(run)).toBe("CONFIG_INVALID");
    expect(run.stderr).toMatch(message);
    expectNoKeyIn(run, master);
    expect((await sealedValues(home)).size).toBe(0);
  });
});

const FILES = PLACES.filter(({ name }) => ["KEYCTL_MASTER_KEYS_FILE", "the default file"].includes(name));

function filePlaceOf(home: Home, env: Variables): string {
  return env["KEYCTL_MASTER_KEYS_FILE"] ?? home.masterKeys;
}

describe("a file of master keys", () => {
  it.each(FILES.flatMap((place) => ["640", "604"].map((mode) => ({ ...place, mode }))))(
    "is used, and warned about once for all users, when $name has mode $mode",
    async ({ put, mode }) => {
      const home = emptyHome();
      const env = { ...fromEnvironment, ...put(home, newJwk().k) };
      const path = filePlaceOf(home, env);
      chmodSync(path, Number.parseInt(mode, 8));
      const run = await inProcess(home, ["sync", "--user", "alice", "--user", "bob", "--user", "carol"], { env });
      const warning = `warning: ${path} can be read by other users of this machine (mode 0${mode}); chmod 600 it\n`;
      expect(run.code).toBe(0);
      expect(run.stderr.split(warning)).toHaveLength(2);
    },
  );

  it.each(FILES.flatMap((place) => ["600", "400"].map((mode) => ({ ...place, mode }))))(
    "is used without a word when $name has mode $mode",
    async ({ put, mode }) => {
      const home = emptyHome();
      const env = { ...fromEnvironment, ...put(home, newJwk().k) };
      chmodSync(filePlaceOf(home, env), Number.parseInt(mode, 8));
      const run = await inProcess(home, ["sync", "--user", "alice"], { env });
      expect(run).toMatchObject({ code: 0, stderr: run.log });
    },
  );
});

describe("several master keys", () => {
  it("seal with the first and open with all", async () => {
    const home = emptyHome();
    const [old, fresh] = [newJwk(), newJwk()];
    await sealedStore(home, old);
    const env = { OPENROUTER_API_KEY: OTHER, KEYCTL_MASTER_KEYS: jwkSet(fresh, old) };
    expect(await inProcess(home, ["sync", "--user", "bob"], { env })).toMatchObject({ code: 0 });
    const values = await sealedValues(home);
    expect(decodeProtectedHeader(values.get("alice") ?? "").kid).toBe(old.kid);
    expect(decodeProtectedHeader(values.get("bob") ?? "").kid).toBe(fresh.kid);
    for (const [user, key] of [
      ["alice", KEY],
      ["bob", OTHER],
    ] as const) {
      const got = await inProcess(home, ["get", "--user", user, "--stored", "--reveal"], { env });
      expect(got).toMatchObject({ code: 0, stdout: `${key}\n` });
    }
  });

  it("name the one that is missing, when a row needs it", async () => {
    const home = emptyHome();
    const [old, fresh] = [newJwk(), newJwk()];
    await sealedStore(home, old);
    const both = { OPENROUTER_API_KEY: OTHER, KEYCTL_MASTER_KEYS: jwkSet(fresh, old) };
    await inProcess(home, ["sync", "--user", "bob"], { env: both });
    const env = { ...fromEnvironment, KEYCTL_MASTER_KEYS: jwkSet(old) };
    const run = await inProcess(home, ["get", "--user", "bob", "--json"], { env });
    expect(run.code).toBe(7);
    expect(codeIn(run)).toBe("ROW_UNREADABLE");
    expect(run.stderr).toContain(
      `error: the key of user bob is sealed with master key ${fresh.kid}, which is not here\n`,
    );
    expectNoKeyIn(run, old, fresh);
  });
});

/** Every command that would seal or open a key. bob has none yet. */
const SEALING: readonly (readonly string[])[] = [
  ["sync", "--user", "alice"],
  ["sync", "--user", "bob"],
  ["sync", "--user", "alice", "--user", "bob"],
  ["get", "--user", "alice"],
  ["get", "--user", "bob"],
  ["get", "--user", "alice", "--stored"],
  ["get", "--user", "alice", "--reveal"],
  ["save", "--user", "alice", "--stdin"],
  ["save", "--user", "alice", "--stdin", "--replace"],
  ["save", "--user", "bob", "--stdin"],
];

/** A sealed store, another key in key.txt and in the environment, and master keys of which none opens it. */
async function lockedStore(keys: "wrong" | "missing") {
  const home = emptyHome();
  await sealedStore(home, newJwk());
  home.writeKeyFile(OTHER);
  const env: Variables = { OPENROUTER_API_KEY: OTHER, ...(keys === "wrong" ? { KEYCTL_MASTER_KEYS: newJwk().k } : {}) };
  return { home, env, stored: await allThatIsStored(home), tree: treeOf(home.folder) };
}

describe.each([
  ["wrong", "MASTER_KEY_WRONG", "the master keys are not the ones that this database is sealed with"],
  ["missing", "MASTER_KEY_MISSING", "the database is sealed and there is no master key to open it with"],
] as const)("when the master keys are %s", (keys, code, message) => {
  it("what would seal or open a key ends with exit code 4, and nothing is used or written", async () => {
    const { home, env, stored, tree } = await lockedStore(keys);
    for (const args of SEALING) {
      const run = await inProcess(home, [...args, "--json"], { env, input: OTHER });
      const shown = args.join(" ");
      expect(run.code, shown).toBe(4);
      const last = JSON.parse(run.stdout.trim().split("\n").at(-1) ?? "") as Record<string, unknown>;
      expect(last["error"], shown).toMatchObject({ code, exit_code: 4, message, retryable: false });
      expect(run.stderr, shown).toContain(`error: ${message}\nhint: `);
      expect(run.log, shown).not.toMatch(/Using|Saved|synced/);
      expect(run.stdout, shown).not.toContain("***");
      expectNoKeyIn(run);
    }
    expect(await allThatIsStored(home)).toBe(stored);
    expect(treeOf(home.folder)).toStrictEqual(tree);
  });

  it("a key that should be revealed leaves no byte on stdout", async () => {
    const { home, env } = await lockedStore(keys);
    expect(await inProcess(home, ["get", "--user", "alice", "--reveal"], { env })).toMatchObject({
      code: 4,
      stdout: "",
    });
  });

  it("list and purge still work", async () => {
    const { home, env } = await lockedStore(keys);
    const listed = await inProcess(home, ["list", "--json"], { env });
    expect(listed).toMatchObject({ code: 0, stderr: "" });
    expect(JSON.parse(listed.stdout)).toMatchObject({ user_id: "alice", key: "***************b465", encrypted: true });
    expect(await inProcess(home, ["list", "--count"], { env })).toMatchObject({ code: 0, stdout: "1\n" });
    const purged = await inProcess(home, ["purge", "--user", "alice", "--yes", "--json"], { env });
    expect(purged.code).toBe(0);
    expect(JSON.parse(purged.stdout)).toMatchObject({ key: "***************b465", purged: true });
    expect((await sealedValues(home)).size).toBe(0);
  });

  it("the store is not taken over once its last key is purged", async () => {
    const { home, env } = await lockedStore(keys);
    await inProcess(home, ["purge", "--user", "alice", "--yes"], { env });
    const run = await inProcess(home, ["sync", "--user", "alice", "--json"], { env });
    expect(run.code).toBe(4);
    expect(codeIn(run)).toBe(code);
    expect(existsSync(home.masterKeys)).toBe(false);
  });
});

describe("a sealed store", () => {
  it("never gets a new master key when its file is gone, and opens again when it is back", async () => {
    const home = emptyHome();
    await inProcess(home, ["sync", "--user", "alice"], { env: fromEnvironment });
    const backup = readFileSync(home.masterKeys, "utf8");
    rmSync(home.masterKeys);
    const run = await inProcess(home, ["sync", "--user", "bob", "--json"], { env: fromEnvironment });
    expect(run.code).toBe(4);
    expect(codeIn(run)).toBe("MASTER_KEY_MISSING");
    expect(existsSync(home.masterKeys)).toBe(false);
    write(home.masterKeys, backup);
    const got = await inProcess(home, ["get", "--user", "alice", "--stored", "--reveal"]);
    expect(got).toMatchObject({ code: 0, stdout: `${KEY}\n` });
  });

  it("refuses rows that were swapped between users", async () => {
    const home = emptyHome();
    home.writeKeyFile(KEY);
    await inProcess(home, ["sync", "--user", "alice"]);
    home.writeKeyFile(OTHER);
    await inProcess(home, ["sync", "--user", "bob"]);
    const values = await sealedValues(home);
    await writeSealedValue(home, "alice", values.get("bob") ?? "");
    await writeSealedValue(home, "bob", values.get("alice") ?? "");
    for (const user of ["alice", "bob"]) {
      for (const command of ["sync", "get"]) {
        const run = await inProcess(home, [command, "--user", user]);
        expect(run.code).toBe(7);
        expect(run.log).toContain("⚠️ Invalid key format in database\n");
        expect(run.stderr).toContain(`error: the stored key of user ${user} does not open`);
        expectNoKeyIn(run);
      }
    }
    await writeSealedValue(home, "alice", values.get("alice") ?? "");
    expect(await inProcess(home, ["get", "--user", "alice", "--reveal"])).toMatchObject({
      code: 0,
      stdout: `${KEY}\n`,
    });
  });

  it("refuses a check record that was replaced by a key's value", async () => {
    const home = emptyHome();
    await inProcess(home, ["sync", "--user", "alice"], { env: fromEnvironment });
    const value = (await sealedValues(home)).get("alice") ?? "";
    await withDatabase(home, (database) =>
      database.prepare("UPDATE api_key_meta SET value = ? WHERE _id GLOB 'check:*'").run(value),
    );
    const run = await inProcess(home, ["get", "--user", "alice", "--json"]);
    expect(run.code).toBe(4);
    expect(codeIn(run)).toBe("MASTER_KEY_WRONG");
  });
});

describe("commands that need no master key", () => {
  it.each([
    [["get", "--user", "alice", "--stored"], 3],
    [["get", "--user", "alice", "--stored", "--reveal"], 3],
    [["list"], 0],
    [["purge", "--user", "alice", "--yes"], 0],
  ] as const)("make nothing in an empty home: %j", async (args, code) => {
    const home = emptyHome();
    const before = treeOf(home.folder);
    expect(await inProcess(home, args)).toMatchObject({ code });
    expect(treeOf(home.folder)).toStrictEqual(before);
  });

  it("make no master key when there is no key to seal", async () => {
    const home = emptyHome();
    expect(await inProcess(home, ["sync", "--user", "alice"])).toMatchObject({ code: 3 });
    expect(existsSync(dirname(home.masterKeys))).toBe(false);
  });

  it("do not read master keys that cannot be used", async () => {
    const home = emptyHome();
    await sealedStore(home, newJwk());
    const env = { KEYCTL_MASTER_KEYS_COMMAND: 'touch "$HOME/was-run"; exit 1' };
    expect(await inProcess(home, ["list"], { env })).toMatchObject({ code: 0 });
    expect(await inProcess(home, ["purge", "--user", "alice", "--yes"], { env })).toMatchObject({ code: 0 });
    expect(existsSync(join(home.folder, "was-run"))).toBe(false);
  });
});
