import { expect, it } from "vitest";
import type { Ports } from "../../../src/compose.ts";
import { withCalls } from "../../support/home/tool-with-openrouter.ts";
import { managerOfTest } from "../../support/memory/manager.ts";
import { databaseOfTest, describeWithMongodb } from "../../support/mongodb/of-test.ts";
import { homeOn } from "../../support/mongodb/run.ts";
import { madeKeys } from "../../support/openrouter/made-keys.ts";
import { mockOpenRouter } from "../../support/openrouter/of-test.ts";
import { KEY, OTHER } from "../../support/fixtures/keys.ts";

async function world() {
  const database = databaseOfTest();
  const openRouter = await mockOpenRouter();
  const home = homeOn(database.uri);
  const env = { KEYCTL_OPENROUTER_URL: openRouter.url, OPENROUTER_PROVISIONING_KEY: openRouter.managementKey };
  const manager = (around?: (ports: Ports) => Ports) => managerOfTest(home, env, around);
  const documents = () => database.db.collection("api_keys").find({}).toArray();
  return { rows: database.db.collection("api_keys"), documents, openRouter, manager };
}

const BLOCKED = { key: null, error: { code: "USER_BLOCKED" } };

// The server of the tests may let two changes of one row win: a tombstone is inserted there, after the row was removed.
describeWithMongodb("a block on a MongoDB server", () => {
  it("is a document without a key, and an unblock removes it", async () => {
    const { manager, documents, openRouter } = await world();
    const keys = await manager();
    await keys.syncAndGetKey("alice");
    expect(await keys.block("alice", { revoke: "ours", reason: "has left" })).toMatchObject({
      purged: true,
      blocked: true,
      error: null,
    });
    expect(await documents()).toMatchObject([
      { user_id: "alice", key_encrypted: "", key_hash: null, blocked: { at: expect.any(Date), reason: "has left" } },
    ]);
    expect(madeKeys(openRouter)).toEqual([]);
    expect(await keys.syncAndGetKey("alice")).toMatchObject(BLOCKED);
    expect(await keys.unblock("alice")).toMatchObject({ unblocked: true, error: null });
    expect(await documents()).toEqual([]);
    expect(await keys.syncAndGetKey("alice")).toMatchObject({ source: "auto-provisioned", error: null });
  });

  it("stands whatever another program writes beside it", async () => {
    const { manager, rows, documents } = await world();
    const keys = await manager();
    await keys.block("alice");
    await rows.updateOne({ user_id: "alice" }, { $set: { key_encrypted: KEY, is_active: true } }, { upsert: true });
    expect(await keys.syncAndGetKey("alice")).toMatchObject(BLOCKED);
    expect(await keys.getStoredKey("alice")).toMatchObject(BLOCKED);
    expect(await keys.saveKeyToDb("alice", OTHER)).toMatchObject({ error: { code: "USER_BLOCKED" } });
    expect(await keys.unblock("alice")).toMatchObject({ unblocked: true, error: null });
    expect(await documents()).toEqual([]);
  });

  it("stands although a sync settles the row at the same moment, which hands out no key", async () => {
    const { manager, documents } = await world();
    const keys = await manager();
    let first = true;
    const racing = await manager(
      withCalls((store) => ({
        async replace(row, seen, signal) {
          if (first) await keys.block("alice");
          first = false;
          return store.replace(row, seen, signal);
        },
      })),
    );
    expect(await racing.syncAndGetKey("alice")).toMatchObject(BLOCKED);
    expect(await documents()).toMatchObject([{ blocked: {} }]);
  });
});
