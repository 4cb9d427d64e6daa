import { expect, it } from "vitest";
import type { Home } from "../support/home/home.ts";
import { emptyHome } from "../support/home/home.ts";
import { databaseOfTest, describeWithMongodb } from "../support/mongodb/of-test.ts";
import type { Database } from "../support/mongodb/of-test.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import { documentsOf, errorOf, inProcess } from "../support/programs/in-process.ts";
import { BUILDS, earlier, told } from "../support/upgrading/earlier.ts";
import type { Build } from "../support/upgrading/earlier.ts";
import { fill, withMasterKey } from "../support/upgrading/stores.ts";

const KEY = `sk-or-v1-${"9".repeat(60)}b465`;
const OTHER = `sk-or-v1-${"f".repeat(60)}91aa`;

interface Meta {
  readonly _id: string;
  readonly value: string;
}

/** A home that uses this database, whose server lets one change of a row win or is used by nobody else. */
function homeOn({ uri }: Database, more: NodeJS.ProcessEnv = {}): Home {
  const environment = { KEYCTL_STORE: uri, KEYCTL_CREATE_STORE: "1", KEYCTL_ALLOW_NON_ATOMIC_STORE: "1", ...more };
  return withMasterKey(emptyHome(), environment);
}

async function revealed(home: Home, user: string): Promise<string> {
  const { code, stdout } = await inProcess(home, ["get", "--stored", "--reveal", "--user", user]);
  expect({ user, code }).toEqual({ user, code: 0 });
  return stdout.trimEnd();
}

async function save(home: Home, user: string, key: string): Promise<void> {
  const { code, stderr } = await inProcess(home, ["save", "--user", user, "--stdin", "--replace"], { input: key });
  expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
}

/** What the earlier build does in a moment. */
async function then(home: Home, build: Build, work: string): Promise<readonly unknown[]> {
  return told(
    earlier(
      home,
      build,
      `const keys = await keyctl.KeyManager.open();
       const text = async (user) => { const { key, error } = await keys.getStoredKey(user); if (error) throw error; return key.reveal(); };
       const save = async (user, key) => { const { error } = await keys.saveKeyToDb(user, key); if (error) throw error; };
       ${work}
       await keys.close();`,
    ),
  );
}

describeWithMongodb.each(BUILDS)("a MongoDB store that the build with %s has made", (build) => {
  it("is read as it is, and its rows and journal stay as they are", async () => {
    const database = databaseOfTest();
    const keys = await fill(database.db, build);
    const all = async () =>
      JSON.stringify(
        await Promise.all(
          ["api_keys", "api_key_journal", "api_key_meta"].map((name) =>
            database.db.collection(name).find().sort({ _id: 1 }).toArray(),
          ),
        ),
      );
    const before = await all();
    const home = homeOn(database);
    const rows = documentsOf(await inProcess(home, ["list", "--json"]));
    expect(rows.map((row) => String(row["user_id"])).toSorted()).toEqual(Object.keys(keys).toSorted());
    for (const [user, key] of Object.entries(keys)) expect(await revealed(home, user)).toBe(key);
    expect(await all()).toBe(before);
  });

  it("is one to work on, and that build still reads it afterwards", async () => {
    const database = databaseOfTest();
    const keys = await fill(database.db, build);
    const home = homeOn(database);
    await save(home, "alice", OTHER);
    await save(home, "new", KEY);
    expect((await inProcess(home, ["rekey", "--keep-key"])).code).toBe(0);
    const left = { ...keys, alice: OTHER, new: KEY };
    const users = JSON.stringify(Object.keys(left));
    expect(await then(home, build, `for (const user of ${users}) tell(await text(user));`)).toEqual(
      Object.values(left),
    );
  });
});

describeWithMongodb.each(BUILDS)("the build with %s, run beside this one on MongoDB", (build) => {
  it("reads what this one saves, and this one reads and replaces what it saves, turn by turn", async () => {
    const home = homeOn(databaseOfTest());
    await save(home, "alice", KEY);
    expect(
      await then(
        home,
        build,
        `tell(await text("alice")); await save("alice", "${OTHER}"); await save("bob", "${KEY}");`,
      ),
    ).toEqual([KEY]);
    expect([await revealed(home, "alice"), await revealed(home, "bob")]).toEqual([OTHER, KEY]);
    await save(home, "alice", KEY);
    expect(await then(home, build, `tell(await text("alice")); await keys.purge("bob");`)).toEqual([KEY]);
    expect((await inProcess(home, ["get", "--stored", "--user", "bob"])).code).toBe(3);
  });

  it("reads a key that this one has created, and a key that it saves over that is nobody's creation", async () => {
    const server = await mockOpenRouter();
    const environment = { KEYCTL_OPENROUTER_URL: server.url, OPENROUTER_PROVISIONING_KEY: server.managementKey };
    const home = homeOn(databaseOfTest(), environment);
    const args = ["provision", "--user", "carol", "--limit", "5", "--limit-reset", "monthly"];
    expect((await inProcess(home, args)).code).toBe(0);
    const created = await revealed(home, "carol");
    expect(await then(home, build, `tell(await text("carol")); await save("carol", "${OTHER}");`)).toEqual([created]);
    expect(await revealed(home, "carol")).toBe(OTHER);
    const [row] = documentsOf(await inProcess(home, ["list", "--json"]));
    expect(row).toMatchObject({ user_id: "carol", generation: 0, limit: null, limit_reset: null, settled: true });
  });

  it("keeps the fields of a row that it does not know", async () => {
    const database = databaseOfTest();
    const home = homeOn(database);
    await save(home, "alice", KEY);
    await database.db.collection("api_keys").updateOne({}, { $set: { from_a_later_keyctl: { a: 1 } } });
    await then(home, build, `await save("alice", "${OTHER}");`);
    expect(await database.db.collection("api_keys").findOne()).toMatchObject({ from_a_later_keyctl: { a: 1 } });
    await save(home, "alice", KEY);
    expect(await database.db.collection("api_keys").findOne()).toMatchObject({ from_a_later_keyctl: { a: 1 } });
  });
});

describeWithMongodb("a MongoDB store whose schema a later keyctl has raised", () => {
  it.each([
    ["list"],
    ["get", "--stored", "--user", "alice"],
    ["sync", "--user", "alice"],
    ["purge", "--user", "alice", "--yes"],
    ["explain", "--user", "alice"],
    ["save", "--user", "alice", "--stdin", "--replace"],
  ])("is STORE_NEWER for %s, and stays as it is", async (...args) => {
    const database = databaseOfTest();
    await fill(database.db, "schema-3");
    await database.db.collection<Meta>("api_key_meta").updateOne({ _id: "schema" }, { $set: { value: "2" } });
    const before = JSON.stringify(await database.db.collection("api_keys").find().toArray());
    const run = await inProcess(homeOn(database), [...args, "--json"], { input: OTHER });
    expect(run.code).toBe(7);
    expect(errorOf(run)).toMatchObject({
      code: "STORE_NEWER",
      message: "the database was created by a newer keyctl (schema 2, this one knows 1)",
      hint: "upgrade keyctl; nothing was written",
    });
    expect(JSON.stringify(await database.db.collection("api_keys").find().toArray())).toBe(before);
  });
});
