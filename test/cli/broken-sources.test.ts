import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { ApiKey } from "../../src/core/model/api-key.ts";
import { newRecord } from "../../src/core/model/key-record.ts";
import { parseUserId } from "../../src/core/model/user-id.ts";
import { BROKEN_SOURCES } from "../support/fixtures/broken-sources.ts";
import { documentsOf, errorOf } from "../support/programs/in-process.ts";
import { KEY, maskOf, OTHER } from "../support/fixtures/keys.ts";
import { asLibrary } from "../support/programs/library-in-process.ts";
import { databaseOfTest, describeWithMongodb } from "../support/mongodb/of-test.ts";
import { homeOn } from "../support/mongodb/run.ts";
import { changesAt, journalOf, note, operation, stage, withStore } from "../support/home/tool-with-openrouter.ts";

const SYNC = ["sync", "--user", "alice", "--json"];
const BULK = ["sync", "--user", "alice", "--user", "bob", "--json"];
const ALL_THE_SAME = /; keyctl provision --user alice {3}creates a key anyway$/;

/** What could be of the text that was read. */
const SECRET = /b465|91aa|0a1b2c3d|secrets\.|op:\/\/|changeme/;

describe.each(BROKEN_SOURCES)("$name", ({ make, reason, warning: [code, message] }) => {
  const warnings = [{ code, message: expect.stringContaining(message) as string }];
  const noKey = {
    key: null,
    synced: false,
    warnings,
    error: { code: "NO_KEY", exit_code: 3, hint: expect.stringMatching(ALL_THE_SAME) as string },
  };

  it("buys nothing in a sync, which says why and what to do", async () => {
    const { home, server, run } = await stage();
    const done = await run(SYNC, { env: make(home) });
    expect(documentsOf(done)).toMatchObject([noKey]);
    expect(done.log.split("\n").slice(-5, -1)).toEqual([
      "[KeyManager] ⚠️ No API key found in database, file, or environment",
      "[KeyManager] 🔄 Attempting auto-provision...",
      `[KeyManager] ❌ Auto-provision failed: ${reason}`,
      "[KeyManager] ❌ No API key available",
    ]);
    expect(done.code).toBe(3);
    expect(done.stdout + done.stderr).not.toMatch(SECRET);
    expect([changesAt(server), await journalOf(home)]).toEqual([{}, []]);
  });

  it("buys nothing in a bulk run", async () => {
    const { home, server, run } = await stage();
    const env = make(home);
    const done = await run(BULK, { env });
    const [alice, bob, summary] = documentsOf(done);
    expect(alice).toMatchObject(noKey);
    expect(bob).toMatchObject({ user_id: "bob", key: null, warnings, error: { code: "NO_KEY" } });
    expect([summary?.["complete"], errorOf(done)?.code, done.code]).toEqual([true, "SOME_FAILED", 9]);
    expect(done.stdout + done.stderr).not.toMatch(SECRET);
    const oneByOne = await run([...BULK, "--log"], { env });
    expect(documentsOf(oneByOne)[0]).toMatchObject(noKey);
    expect([changesAt(server), await journalOf(home)]).toEqual([{}, []]);
  });

  it("is foretold by explain", async () => {
    const { home, server, run } = await stage();
    const done = await run(["explain", "--user", "alice", "--json"], { env: make(home) });
    const [explained] = documentsOf(done);
    expect(explained).toMatchObject({ winner: null, warnings, error: noKey.error });
    expect(explained?.["steps"]).toContainEqual(
      expect.objectContaining({ source: "auto-provisioned", state: "absent", detail: reason }),
    );
    expect([done.code, server.count()]).toEqual([3, 0]);
    expect(done.stdout + done.stderr).not.toMatch(SECRET);
  });

  it("buys nothing in a server", async () => {
    const { home, server, env } = await stage();
    const environment = { ...env, ...make(home) };
    await asLibrary(home, environment, async (manager) => {
      const result = await manager.syncAndGetKey("alice");
      expect([result.key, result.error?.code, result.warnings]).toEqual([null, "NO_KEY", warnings]);
      const { key, valid, error } = await manager.ensureKeyForUser("alice", { validate: true });
      expect([key, valid, error?.code]).toEqual([null, null, "NO_KEY"]);
    });
    expect([changesAt(server), await journalOf(home)]).toEqual([{}, []]);
  });

  it("buys a key for one who asks for it in so many words", async () => {
    const { home, server, run, env } = await stage();
    const environment = make(home);
    expect((await run("provision --user alice", { env: environment })).code).toBe(0);
    const { error } = await asLibrary(home, { ...env, ...environment }, (manager) => manager.autoProvisionKey("bob"));
    expect([error, server.count("POST /keys")]).toEqual([null, 2]);
  });
});

describe("a broken source", () => {
  it("does not keep another one from being used", async () => {
    const { home, server, run } = await stage();
    home.writeKeyFile(`"${KEY}"`);
    const done = await run(SYNC, { env: { OPENROUTER_API_KEY: OTHER } });
    expect(documentsOf(done)[0]).toMatchObject({ key: maskOf(OTHER), source: "environment", error: null });
    const fileWins = await stage();
    fileWins.home.writeKeyFile(KEY);
    const env = { OPENROUTER_API_KEY_FILE: join(fileWins.home.folder, "nothing") };
    expect(documentsOf(await fileWins.run(SYNC, { env }))[0]).toMatchObject({ source: "key.txt", error: null });
    expect(server.count()).toBe(0);
  });

  it("is named with all the others, each with what to correct", async () => {
    const { home, run } = await stage();
    home.writeKeyFile("");
    const done = await run(SYNC, { env: { OPENROUTER_API_KEY: "changeme" } });
    expect(errorOf(done)?.hint).toBe(
      `correct or remove ${join(home.work, "key.txt")} and correct or unset OPENROUTER_API_KEY; ` +
        "keyctl provision --user alice   creates a key anyway",
    );
  });

  it("that a person named and that is missing is to be filled or not to be named", async () => {
    const { home, run } = await stage();
    const missing = join(home.folder, "no such file.txt");
    const done = await run([...SYNC, "--key-file", missing]);
    expect(errorOf(done)?.hint).toMatch(`put a key into '${missing}'`);
    expect(errorOf(done)?.hint).toMatch(ALL_THE_SAME);
    const named = await run(SYNC, { env: { OPENROUTER_API_KEY_FILE: missing } });
    expect(errorOf(named)?.hint).toMatch(/^correct or unset OPENROUTER_API_KEY_FILE; /);
  });

  it("is no obstacle to a key that is in the database, or that somebody else is making", async () => {
    const { home, server, run, given } = await stage();
    await given("sync --user bob");
    home.writeKeyFile("");
    expect(documentsOf(await run(["sync", "--user", "bob", "--json"]))[0]).toMatchObject({ source: "database" });
    await note(home, "alice", operation(1));
    const isMade = async () => {
      await sleep(400);
      const row = newRecord(parseUserId("alice"), {
        key: ApiKey.parse(OTHER) as ApiKey,
        sealed: OTHER,
        origin: "manual",
        now: new Date().toISOString(),
      });
      await withStore(home, (store, signal) => store.insert(row, signal));
    };
    const [done] = await Promise.all([run(SYNC, { env: { KEYCTL_REQUIRE_SEALED: "0" } }), isMade()]);
    expect(documentsOf(done)[0]).toMatchObject({ source: "database", key: maskOf(OTHER), error: null });
    expect(server.count("POST /keys")).toBe(1);
  });

  it("is not what a variable is that is set to nothing", async () => {
    const { server, given } = await stage();
    await given("sync --user alice", {
      env: { OPENROUTER_API_KEY: "", OPENROUTER_API_KEY_FILE: "", KEYCTL_KEY_FILE: "" },
    });
    expect(server.count("POST /keys")).toBe(1);
  });

  it("says first that there is no management key, where there is none", async () => {
    const { home, run } = await stage();
    home.writeKeyFile("");
    const done = await run(SYNC, { env: { OPENROUTER_PROVISIONING_KEY: "" } });
    expect(done.log).toContain("⚠️ OPENROUTER_PROVISIONING_KEY not set, cannot auto-provision\n");
    expect(done.code).toBe(3);
  });
});

describe("two variables for one key", () => {
  it("are a mistake in the configuration, and buy nothing either", async () => {
    const { home, server, run } = await stage();
    const env = { OPENROUTER_API_KEY: KEY, OPENROUTER_API_KEY_FILE: join(home.folder, "secret") };
    const done = await run(SYNC, { env });
    expect([errorOf(done)?.code, done.code, server.count()]).toEqual(["CONFIG_CONFLICT", 4, 0]);
  });
});

describeWithMongodb("a key.txt without a key, over MongoDB", () => {
  it("buys nothing, one by one and in a bulk run", async () => {
    const { KEYCTL_STORE = "", KEYCTL_MASTER_KEYS = "" } = homeOn(databaseOfTest().uri).environment;
    const { home, server, run } = await stage();
    home.writeKeyFile(`"${KEY}"`);
    const env = { KEYCTL_STORE, KEYCTL_CREATE_STORE: "1", KEYCTL_MASTER_KEYS };
    expect(errorOf(await run(SYNC, { env }))).toMatchObject({ code: "NO_KEY", exit_code: 3 });
    const [alice] = documentsOf(await run(BULK, { env }));
    expect([alice?.["error"], changesAt(server)]).toMatchObject([{ code: "NO_KEY" }, {}]);
  });
});
