import { describe, expect, it } from "vitest";
import { parseUserId } from "../../src/core/model/user-id.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf, errorOf } from "../support/programs/in-process.ts";
import { hashOf, KEY, keyEnding, MADE, maskOf } from "../support/fixtures/keys.ts";
import { homeOn } from "../support/mongodb/run.ts";
import { databaseOfTest, describeWithMongodb } from "../support/mongodb/of-test.ts";
import { always } from "../support/openrouter/faults.ts";
import { stage, withCalls } from "../support/home/tool-with-openrouter.ts";
import type { Stage } from "../support/home/tool-with-openrouter.ts";

const WARNING = "key.txt holds a key that keyctl created and marked for deletion at OpenRouter";

/** The key that keyctl made for alice is out of her row, and OpenRouter does not delete it yet. */
async function owed(home: Home): Promise<Stage> {
  const all = await stage({ newKey: () => MADE }, home);
  await all.given("sync --user alice");
  all.server.behave(always("PATCH /keys/{hash}", { status: 400 }));
  expect((await all.run("purge --user alice --revoke --yes")).code).toBe(10);
  all.server.behave(() => "pass");
  return all;
}

/** It was purged, and kept at OpenRouter. */
async function kept(home: Home): Promise<Stage> {
  const all = await stage({ newKey: () => MADE }, home);
  await all.given("sync --user alice");
  await all.given("purge --user alice --yes");
  return all;
}

/** Another command decides to delete alice's first key just before this call of the store. */
const owingBefore = (call: "insert" | "insertMany" | "replace") =>
  withCalls((store) => ({
    [call]: async (...args: readonly never[]) => {
      const del = { kind: "del", n: 1, userId: parseUserId("alice"), at: new Date().toISOString() } as const;
      await store.insertEntry(del, AbortSignal.timeout(10_000));
      return (store[call] as (...words: readonly never[]) => unknown)(...args);
    },
  }));

function givenKeys(name: string, emptyPlace: () => Home): void {
  describe(`a key that keyctl made, ${name}`, () => {
    it("is not saved while it is about to be deleted, not for another user either", async () => {
      const { run } = await owed(emptyPlace());
      for (const user of ["alice", "bob"]) {
        const refused = await run(`save --user ${user} --stdin --json`, { input: MADE });
        expect([refused.code, documentsOf(refused)[0]]).toMatchObject([8, { changed: false }]);
        expect(errorOf(refused)).toMatchObject({
          code: "CONFLICT",
          message: expect.stringMatching(
            new RegExp(
              `^keyctl created this key and marked it for deletion at OpenRouter at 20.*Z; it was not saved for user ${user}$`,
            ),
          ) as string,
          retryable: false,
        });
        expect((await run(`get --user ${user} --stored`)).code).toBe(3);
      }
    });

    it("is passed over in key.txt, and no key is bought in its place", async () => {
      const { home, server, run } = await owed(emptyPlace());
      home.writeKeyFile(MADE);
      const before = server.count();
      const done = await run("sync --user alice --json");
      expect([done.code, documentsOf(done)[0]]).toMatchObject([
        3,
        { key: null, warnings: [{ code: "KEY_FILE_IGNORED", message: WARNING }], error: { code: "NO_KEY" } },
      ]);
      expect(done.log.trimEnd().split("\n")).toEqual([
        "[KeyManager] ===== Syncing API key for user alice =====",
        "[KeyManager] ⚠️ No API key found in database, file, or environment",
        "[KeyManager] 🔄 Attempting auto-provision...",
        `[KeyManager] ❌ Auto-provision failed: ${WARNING}`,
        "[KeyManager] ❌ No API key available",
      ]);
      expect(server.count()).toBe(before);
      const explained = await run("explain --user alice --json");
      expect(documentsOf(explained)[0]).toMatchObject({
        winner: null,
        steps: [
          { state: "absent" },
          { source: "key.txt", state: "ignored", key: maskOf(MADE) },
          { state: "absent" },
          { source: "auto-provisioned", state: "absent" },
        ],
        error: { code: "NO_KEY" },
      });
    });

    it("gives way to the key of the environment", async () => {
      const { home, run } = await owed(emptyPlace());
      home.writeKeyFile(MADE);
      const env = { OPENROUTER_API_KEY: KEY };
      const explained = await run("explain --user alice --json", { env });
      expect(documentsOf(explained)[0]).toMatchObject({ winner: "environment", error: null });
      const done = await run("sync --user alice --json", { env });
      expect(documentsOf(done)[0]).toMatchObject({ key: maskOf(KEY), source: "environment", synced: true });
    });

    it("is passed over in bulk, by one query for all users", async () => {
      const { server, run } = await owed(emptyPlace());
      const users = ["alice", "bob", "carol"];
      const line = ["sync", ...users.flatMap((user) => ["--user", user]), "--json"];
      const asked: string[] = [];
      const around = withCalls((store) => ({
        outcomesOf: (hashes, signal) => (asked.push(...hashes), store.outcomesOf(hashes, signal)),
      }));
      const before = server.count();
      const done = await run(line, { env: { OPENROUTER_API_KEY: MADE }, around });
      expect(documentsOf(done).slice(0, 3)).toMatchObject(users.map(() => ({ key: null, error: { code: "NO_KEY" } })));
      expect([asked, server.count()]).toEqual([[hashOf(MADE)], before]);
    });

    it("is saved back, by hand or from key.txt, where it was purged and kept", async () => {
      const { home, run, given } = await kept(emptyPlace());
      await given("save --user alice --stdin", { input: MADE });
      await given("purge --user alice --yes");
      home.writeKeyFile(MADE);
      const synced = await run("sync --user alice --json");
      expect(documentsOf(synced)[0]).toMatchObject({ key: maskOf(MADE), source: "key.txt", error: null });
      await given("purge --user alice --yes");
      const bulk = await run("sync --user alice --user bob --json");
      expect(documentsOf(bulk).slice(0, 2)).toMatchObject([{ synced: true }, { synced: true }]);
    });

    it("is taken back when another command decides to delete it just before it is stored", async () => {
      const { home, run } = await kept(emptyPlace());
      const saved = await run("save --user alice --stdin --json", { input: MADE, around: owingBefore("insert") });
      expect([saved.code, errorOf(saved)?.code]).toEqual([8, "CONFLICT"]);
      expect((await run("get --user alice --stored")).code).toBe(3);
      home.writeKeyFile(MADE);
      const synced = await run("sync --user alice --json");
      expect([synced.code, errorOf(synced)?.code]).toEqual([3, "NO_KEY"]);
    });

    it("is taken back from a sync of one, and of many", async () => {
      for (const [users, call] of [
        ["--user alice", "insert"],
        ["--user alice --user bob", "insertMany"],
      ] as const) {
        const { run } = await kept(emptyPlace());
        const env = { OPENROUTER_API_KEY: MADE };
        const done = await run(`sync ${users} --json`, { env, around: owingBefore(call) });
        expect(documentsOf(done)[0]).toMatchObject({ key: null, synced: false, error: { code: "NO_KEY" } });
        for (const user of ["alice", "bob"]) expect((await run(`get --user ${user} --stored`)).code).toBe(3);
      }
    });
  });
}

givenKeys("in the embedded store", emptyHome);
describeWithMongodb("over MongoDB's protocol", () => {
  givenKeys("on a server", () => homeOn(databaseOfTest().uri));
});

describe("a key that keyctl made, over another one", () => {
  it("is not saved while it is about to be deleted", async () => {
    const { server, run, given } = await stage({ newKey: () => MADE });
    await given("sync --user alice");
    server.behave(always("PATCH /keys/{hash}", { status: 400 }));
    expect((await run("save --user alice --stdin --replace --revoke", { input: KEY })).code).toBe(10);
    const refused = await run("save --user alice --stdin --replace --json", { input: MADE });
    expect([refused.code, errorOf(refused)?.code]).toEqual([8, "CONFLICT"]);
    expect(documentsOf(await run("get --user alice --stored --json"))[0]).toMatchObject({ key: maskOf(KEY) });
  });

  it("goes with its row when another command decides to delete it just before it is stored", async () => {
    const keys = [MADE, keyEnding("0002")];
    const { server, run, given } = await stage({ newKey: () => keys.shift() ?? "" });
    await given("sync --user alice");
    await given("purge --user alice --yes");
    await given("sync --user alice");
    const line = "save --user alice --stdin --replace --revoke --json";
    const refused = await run(line, { input: MADE, around: owingBefore("replace") });
    expect([refused.code, errorOf(refused)?.code]).toEqual([8, "CONFLICT"]);
    expect(errorOf(refused)?.message).toMatch(
      /; it was not saved for user alice, and the key before it is out of the database as well$/,
    );
    expect((await run("get --user alice --stored")).code).toBe(3);
    // What it was to replace had been given up for it.
    await given("reconcile --fix");
    expect(server.keys.size).toBe(0);
  });
});
