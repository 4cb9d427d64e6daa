import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { storedUsers } from "../support/sqlite/database.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf, errorOf } from "../support/programs/in-process.ts";
import { KEY, maskOf, OTHER } from "../support/fixtures/keys.ts";
import { asLibrary } from "../support/programs/library-in-process.ts";
import { databaseOfTest, describeWithMongodb } from "../support/mongodb/of-test.ts";
import { homeOn } from "../support/mongodb/run.ts";
import { stage } from "../support/home/tool-with-openrouter.ts";
import type { Stage } from "../support/home/tool-with-openrouter.ts";

const CODE = "MANAGEMENT_KEY_AS_USER_KEY";
const SYNC = ["sync", "--user", "alice", "--json"];
/** A management key may look like a user's key, or not. */
const LIKE_A_KEY = "sk-or-v1-management-key-of-a-test";
const OF_ITS_OWN = "sk-or-mgmt-0a1b2c3d0a1b2c3d";
const NONE = { OPENROUTER_PROVISIONING_KEY: "" };

type Environment = Readonly<Record<string, string>>;

function fileIn(home: Home, content: string): string {
  const path = join(home.folder, "management");
  writeFileSync(path, content, { mode: 0o600 });
  return path;
}

/** Every way to configure it. */
const CONFIGURED: readonly (readonly [name: string, configure: (home: Home, key: string) => Environment])[] = [
  ["OPENROUTER_PROVISIONING_KEY", (_, key) => ({ OPENROUTER_PROVISIONING_KEY: key })],
  ["OPENROUTER_MANAGEMENT_KEY", (_, key) => ({ ...NONE, OPENROUTER_MANAGEMENT_KEY: ` ${key}\n` })],
  [
    "OPENROUTER_PROVISIONING_KEY_FILE",
    (home, key) => ({ ...NONE, OPENROUTER_PROVISIONING_KEY_FILE: fileIn(home, `${key}\r\n`) }),
  ],
  [
    "OPENROUTER_MANAGEMENT_KEY_FILE",
    (home, key) => ({ ...NONE, OPENROUTER_MANAGEMENT_KEY_FILE: fileIn(home, `\uFEFF${key}`) }),
  ],
];

/** Every source that may hold it. */
const SOURCES: readonly (readonly [place: string, put: (home: Home, key: string) => Environment])[] = [
  [
    "key.txt",
    (home, key) => {
      home.writeKeyFile(`${key}\n`);
      return {};
    },
  ],
  ["OPENROUTER_API_KEY", (_, key) => ({ OPENROUTER_API_KEY: `${key} ` })],
  [
    "OPENROUTER_API_KEY_FILE",
    (home, key) => {
      const path = join(home.folder, "secret");
      writeFileSync(path, key, { mode: 0o600 });
      return { OPENROUTER_API_KEY_FILE: path };
    },
  ],
];

const CASES = SOURCES.flatMap(([place, put]) =>
  [LIKE_A_KEY, OF_ITS_OWN].map((managementKey) => ({ place, put, managementKey })),
);

/** What could be of a management key. */
const SECRET = /management-key-of-a-test|0a1b2c3d/;

describe.each(CASES)("the management key $managementKey in $place", ({ place, put, managementKey }) => {
  it("is no user's key, and no reason to make one", async () => {
    const { home, server, run } = await stage({ managementKey });
    const env = put(home, managementKey);
    const done = await run(SYNC, { env });
    expect(errorOf(done)).toMatchObject({ code: CODE, exit_code: 4 });
    expect(errorOf(done)?.message).toBe(`${place} holds the management key, which no user may have`);
    expect(documentsOf(done)[0]?.["warnings"]).toMatchObject([{ message: errorOf(done)?.message }]);
    expect(done.log).toContain(`❌ Auto-provision failed: ${place} holds the management key\n`);
    const get = await run("get --user alice --reveal", { env });
    expect([get.code, get.stdout]).toEqual([4, ""]);
    const bulk = await run([...SYNC, "--user", "bob"], { env });
    expect(documentsOf(bulk).map(({ error }) => (error as { code: string }).code)).toEqual([CODE, CODE, "SOME_FAILED"]);
    for (const { stdout, stderr } of [done, get, bulk]) expect(stdout + stderr).not.toMatch(SECRET);
    expect([done.code, bulk.code, server.count(), await storedUsers(home)]).toEqual([4, 9, 0, []]);
  });

  it("is named by explain and doctor", async () => {
    const { home, run } = await stage({ managementKey });
    const env = put(home, managementKey);
    const explained = await run("explain --user alice --json", { env });
    const [document] = documentsOf(explained);
    expect(document).toMatchObject({ winner: null, error: { code: CODE } });
    expect(document?.["steps"]).toContainEqual(
      expect.objectContaining({
        state: "ignored",
        detail: expect.stringMatching("holds the management key") as string,
      }),
    );
    expect(explained.code).toBe(4);
    const examined = await run("doctor --json", { env: { ...env, PATH: "/none" } });
    expect(documentsOf(examined)[0]?.["checks"]).toContainEqual(
      expect.objectContaining({
        id: place === "key.txt" ? "key_file" : "environment",
        status: "fail",
        message: expect.stringMatching("holds the management key") as string,
      }),
    );
    expect(explained.stdout + examined.stdout).not.toMatch(SECRET);
  });

  it("is given to no caller of the library", async () => {
    const { home, server, env } = await stage({ managementKey });
    await asLibrary(home, { ...env, ...put(home, managementKey) }, async (manager) => {
      const { key, error } = await manager.syncAndGetKey("alice");
      expect([key, error?.code]).toEqual([null, CODE]);
      expect((await manager.ensureKeyForUser("alice")).error?.code).toBe(CODE);
    });
    expect(server.count()).toBe(0);
  });
});

describe("the management key in a source", () => {
  it("is passed over where another source holds a key", async () => {
    const { home, run } = await stage({ managementKey: LIKE_A_KEY });
    home.writeKeyFile(LIKE_A_KEY);
    const done = await run(SYNC, { env: { OPENROUTER_API_KEY: KEY } });
    expect(documentsOf(done)[0]).toMatchObject({ key: maskOf(KEY), source: "environment", shadowed: [], error: null });
    expect(done.log).toContain("⚠️ Invalid key format in key.txt\n");
  });

  it("is no key that would come back after a purge, and none beside the database's", async () => {
    const { home, run, given } = await stage({ managementKey: LIKE_A_KEY });
    await given("sync --user alice", { env: { OPENROUTER_API_KEY: KEY } });
    home.writeKeyFile(LIKE_A_KEY);
    expect(documentsOf(await run(SYNC))[0]).toMatchObject({ source: "database", shadowed: [], error: null });
    const purged = await run("purge --user alice --yes --json");
    expect(documentsOf(purged)[0]).toMatchObject({ purged: true, returns_from: [] });
  });

  it.each(CONFIGURED)("is known by %s", async (_name, configure) => {
    const { home, server, run } = await stage({ managementKey: LIKE_A_KEY });
    const done = await run(SYNC, { env: { ...configure(home, LIKE_A_KEY), OPENROUTER_API_KEY: LIKE_A_KEY } });
    expect([errorOf(done)?.code, server.count()]).toEqual([CODE, 0]);
  });

  it("is whatever key stands in one of the variables, when they contradict each other", async () => {
    const { run } = await stage({ managementKey: LIKE_A_KEY });
    const env = { OPENROUTER_MANAGEMENT_KEY: OTHER, OPENROUTER_API_KEY: OTHER };
    expect(errorOf(await run("get --user alice --json", { env }))?.code).toBe(CODE);
  });
});

describe("save", () => {
  it.each(CONFIGURED.flatMap(([name, configure]) => [LIKE_A_KEY, OF_ITS_OWN].map((key) => ({ name, configure, key }))))(
    "refuses the management key $key of $name, and asks nobody",
    async ({ configure, key }) => {
      const { home, server, run } = await stage({ managementKey: key });
      const env = configure(home, key);
      const done = await run("save --user alice --stdin --json", { env, input: `${key}\n` });
      expect(errorOf(done)).toMatchObject({ code: CODE, exit_code: 4 });
      expect(done.log).toBe("[KeyManager] ❌ Invalid key format, not saving\n");
      home.writeKeyFile(key);
      const file = await run("save --user alice --from-file key.txt --replace --validate", { env });
      expect([file.code, server.count(), await storedUsers(home)]).toEqual([4, 0, []]);
      expect(done.stdout + done.stderr + file.stdout + file.stderr).not.toMatch(SECRET);
    },
  );

  it("refuses it in the library, as text and as a key", async () => {
    const { home, env } = await stage({ managementKey: LIKE_A_KEY });
    await asLibrary(home, env, async (manager) => {
      expect((await manager.saveKeyToDb("alice", ` ${LIKE_A_KEY}\n`)).error?.code).toBe(CODE);
      expect((await manager.save("alice", LIKE_A_KEY, { replace: "any" })).error?.code).toBe(CODE);
      expect((await manager.saveKeyToDb("alice", KEY)).error).toBeNull();
    });
  });
});

/** alice was given the management key before it was known as one, and bob a key of his own. */
async function givenBefore(env: Environment = {}): Promise<Stage> {
  const staged = await stage({ managementKey: LIKE_A_KEY });
  const unknown = { env: { ...env, ...NONE }, input: LIKE_A_KEY };
  await staged.given("save --user alice --stdin", unknown);
  await staged.given("save --user bob --stdin", { ...unknown, input: KEY });
  return staged;
}

function stored(places: () => Environment): void {
  it.each(CONFIGURED)("is not handed out, as %s knows it", async (_name, configure) => {
    const place = places();
    const { home, server, run } = await givenBefore(place);
    const env = { ...place, ...configure(home, LIKE_A_KEY) };
    for (const args of ["sync", "get", "get --stored", "get --validate", "get --reveal", "get --stored --reveal"]) {
      const done = await run(`${args} --user alice --json`, { env });
      expect([args, documentsOf(done)[0]?.["key"], errorOf(done)?.code]).toEqual([args, null, CODE]);
      expect([done.code, done.stdout + done.stderr]).toEqual([4, expect.not.stringMatching(SECRET)]);
    }
    const revealed = await run("get --user alice --stored --reveal", { env });
    expect([revealed.code, revealed.stdout]).toEqual([4, ""]);
    for (const args of ["sync --all", "get --all --stored --reveal", "get --user alice --user bob"]) {
      const bulk = await run(`${args} --json`, { env });
      const [alice, bob] = documentsOf(bulk);
      expect([alice?.["key"], alice?.["error"], bob?.["error"]]).toMatchObject([null, { code: CODE }, null]);
      expect(bulk.code).toBe(9);
    }
    expect(server.count()).toBe(0);
  });

  it("is named by explain and doctor, and replaced by save", async () => {
    const place = places();
    const { run } = await givenBefore(place);
    const explained = await run("explain --user alice --json", { env: place });
    expect(documentsOf(explained)[0]).toMatchObject({
      winner: null,
      steps: [{ source: "database", state: "unavailable", key: maskOf(LIKE_A_KEY) }, {}, {}, {}],
      error: { code: CODE, exit_code: 4 },
    });
    const examined = await run("doctor --json", { env: { ...place, PATH: "/none" } });
    expect(documentsOf(examined)[0]?.["checks"]).toContainEqual({
      id: "encryption",
      status: "fail",
      message: "1 user has the management key, which is not handed out: alice",
      hint: "keyctl save --user alice --replace",
    });
    const replaced = await run("save --user alice --stdin --replace", { env: place, input: OTHER });
    expect([replaced.code, (await run("get --user alice --reveal", { env: place })).stdout]).toEqual([0, `${OTHER}\n`]);
  });

  it("is given to no caller of the library", async () => {
    const place = places();
    const { home, env } = await givenBefore(place);
    await asLibrary(home, { ...env, ...place }, async (manager) => {
      expect((await manager.syncAndGetKey("alice")).error?.code).toBe(CODE);
      expect((await manager.getStoredKey("alice")).error?.code).toBe(CODE);
      expect((await manager.ensureKeyForUser("alice", { validate: true })).error?.code).toBe(CODE);
      expect((await manager.syncAndGetKey("bob")).error).toBeNull();
    });
  });
}

describe("the management key in the database", () => {
  stored(() => ({}));

  it("is told by validate, which asks OpenRouter", async () => {
    const { run } = await givenBefore();
    const done = await run("validate --user alice --json");
    expect(documentsOf(done)[0]).toMatchObject({ verdict: "invalid", reason: "management_key" });
  });

  it("is a key like every other where nobody says that it is one, or the file that says so cannot be read", async () => {
    const { run } = await givenBefore();
    for (const env of [NONE, { ...NONE, OPENROUTER_MANAGEMENT_KEY_FILE: "/nowhere" }]) {
      const done = await run("get --user alice --stored --reveal", { env });
      expect([done.code, done.stdout]).toEqual([0, `${LIKE_A_KEY}\n`]);
    }
  });
});

describeWithMongodb("the management key in MongoDB", () => {
  stored(() => {
    const { KEYCTL_STORE = "", KEYCTL_MASTER_KEYS = "" } = homeOn(databaseOfTest().uri).environment;
    // Nothing else changes these rows.
    return { KEYCTL_STORE, KEYCTL_CREATE_STORE: "1", KEYCTL_MASTER_KEYS, KEYCTL_ALLOW_NON_ATOMIC_STORE: "1" };
  });
});
