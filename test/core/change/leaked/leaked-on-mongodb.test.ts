import { expect, it } from "vitest";
import { hashOf, KEY } from "../../../support/fixtures/keys.ts";
import { managerOfTest } from "../../../support/memory/manager.ts";
import { databaseOfTest, describeWithMongodb } from "../../../support/mongodb/of-test.ts";
import { homeOn } from "../../../support/mongodb/run.ts";
import { mockOpenRouter } from "../../../support/openrouter/of-test.ts";

async function world(more: Readonly<Record<string, string>> = {}) {
  const database = databaseOfTest();
  const openRouter = await mockOpenRouter();
  const env = { KEYCTL_OPENROUTER_URL: openRouter.url, OPENROUTER_PROVISIONING_KEY: openRouter.managementKey };
  const keys = await managerOfTest(homeOn(database.uri), { ...env, ...more });
  return { rows: database.db.collection("api_keys"), openRouter, keys };
}

describeWithMongodb("a key that leaked, on a MongoDB server", () => {
  it.each([KEY, hashOf(KEY)])(
    "is found in a row in plain text without a hash, as other programs write it",
    async (given) => {
      const { rows, openRouter, keys } = await world();
      const key = openRouter.addKey(KEY);
      await rows.insertOne({ user_id: "alice", provider: "openrouter", key_encrypted: KEY, created_at: new Date() });
      expect(await keys.leaked(given)).toMatchObject({
        keyHash: hashOf(KEY),
        owner: { userId: "alice", current: true },
        action: "disable",
        warnings: [{ code: "USER_WITHOUT_KEY" }],
        error: null,
      });
      expect(key.disabled).toBe(true);
    },
  );

  it("is disabled also where the store's changes are not atomic, and replaced where that is allowed", async () => {
    const { rows, openRouter, keys } = await world();
    const { key } = await keys.autoProvisionKey("alice");
    const hash = key?.hash ?? "";
    const { error, disabledAt, replacedBy } = await keys.leaked(hash);
    expect([disabledAt === null, openRouter.keys.get(hash)?.disabled ?? true]).toEqual([false, true]);
    if (error !== null) expect([error.code, replacedBy]).toEqual(["STORE_NOT_ATOMIC", null]);
    else expect((await rows.findOne({ user_id: "alice" }))?.["key_hash"]).toBe(replacedBy);
  });
});
