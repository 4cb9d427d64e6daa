import type { Document } from "mongodb";
import { expect, it } from "vitest";
import { mongoStore } from "../../../src/stores/mongo/store.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { emptyHome } from "../../support/home/home.ts";
import type { Home } from "../../support/home/home.ts";
import { errorOf, inProcess } from "../../support/programs/in-process.ts";
import { jwkSet, newJwk } from "../../support/fixtures/jwk.ts";
import { KEY, OTHER } from "../../support/fixtures/keys.ts";
import { managerOfTest } from "../../support/memory/manager.ts";
import { databaseOfTest, describeWithMongodb } from "../../support/mongodb/of-test.ts";
import type { Database } from "../../support/mongodb/of-test.ts";
import { firstBatch, mongodbStub } from "../../support/mongodb/stub.ts";
import { mockOpenRouter } from "../../support/openrouter/of-test.ts";
import { environmentFor } from "../../support/recording/keyctl.ts";
import { operation } from "../../support/home/tool-with-openrouter.ts";

const patient = new AbortController().signal;
const FOUND = { OPENROUTER_API_KEY: KEY };

/** A database of this test, and a home that names it; nothing makes it by itself. */
function named(): { readonly home: Home } & Database {
  const database = databaseOfTest();
  const home = emptyHome();
  const environment = { ...home.environment, KEYCTL_STORE: database.uri, KEYCTL_MASTER_KEYS: jwkSet(newJwk()) };
  return { ...database, home: { ...home, environment } };
}

describeWithMongodb("a MongoDB database without a document of ours", () => {
  it("is exit 7 for every command, and nothing is made in it", async () => {
    const { home, db } = named();
    const openRouter = await mockOpenRouter();
    const env = { PATH: "/none", ...environmentFor(openRouter) };
    for (const args of [
      ["sync", "-u", "alice"],
      ["sync", "-u", "alice", "-u", "bob"],
      ["get", "-u", "alice"],
      ["get", "-u", "alice", "--stored"],
      ["provision", "-u", "alice"],
      ["save", "-u", "alice", "--stdin"],
      ["purge", "-u", "alice", "--yes", "--revoke"],
      ["validate", "-u", "alice"],
      ["list"],
      ["explain", "-u", "alice"],
      ["rekey"],
      ["copy", "--to", "sqlite:copy.db", "--create"],
      ["reconcile"],
      ["doctor"],
    ]) {
      const run = await inProcess(home, [...args, "--json"], { env, input: KEY });
      expect([args, run.code, errorOf(run)?.code]).toEqual([args, 7, "STORE_MISSING"]);
    }
    expect(openRouter.count("POST /keys")).toBe(0);
    expect(await db.listCollections().toArray()).toEqual([]);
  });

  it.each([
    ["--create", ["--create"], {}],
    ["KEYCTL_CREATE_STORE", [], { KEYCTL_CREATE_STORE: "1" }],
  ])("becomes a store with %s, and is one from then on", async (_, flags, env) => {
    const { home } = named();
    expect((await inProcess(home, ["sync", "-u", "alice", ...flags], { env: { ...FOUND, ...env } })).code).toBe(0);
    expect((await inProcess(home, ["list", "--count"])).stdout).toBe("1\n");
    expect((await inProcess(home, ["sync", "-u", "bob"], { env: FOUND })).code).toBe(0);
  });

  it("becomes one by rekey --init", async () => {
    const { home } = named();
    expect((await inProcess(home, ["rekey", "--init"])).code).toBe(0);
    expect((await inProcess(home, ["list", "--count"])).stdout).toBe("0\n");
  });

  it("is no destination without --create, and nothing is made for a dry run", async () => {
    const { home, uri, db } = named();
    await inProcess(home, ["save", "-u", "alice", "--stdin", "--store", "sqlite:one.db", "--create"], { input: KEY });
    const copy = ["copy", "--store", "sqlite:one.db", "--to", uri];
    expect((await inProcess(home, copy)).code).toBe(7);
    expect((await inProcess(home, [...copy, "--dry-run", "--create"])).code).toBe(0);
    expect(await db.listCollections().toArray()).toEqual([]);
    expect((await inProcess(home, [...copy, "--create"])).code).toBe(0);
    expect((await inProcess(home, copy)).code).toBe(0);
  });

  it("buys no key where CI is set, while it is new", async () => {
    const { home } = named();
    const openRouter = await mockOpenRouter();
    const env = { CI: "1", KEYCTL_CREATE_STORE: "1", ...environmentFor(openRouter) };
    const run = await inProcess(home, ["sync", "-u", "alice"], { env });
    expect([run.code, openRouter.count("POST /keys")]).toEqual([3, 0]);
    expect(run.stderr).toContain("the database was just created, and CI is set: no key is created for it");
    expect((await inProcess(home, ["rekey", "--init"])).code).toBe(0);
    expect((await inProcess(home, ["sync", "-u", "alice"], { env })).code).toBe(0);
  });
});

describeWithMongodb("a MongoDB database exists", () => {
  it.each([
    ["api_keys", { user_id: "alice", provider: "openrouter", key_encrypted: KEY }],
    ["api_keys", { user_id: "alice", provider: "another", key_encrypted: "x" }],
    ["api_key_meta", { _id: "schema", value: "1" }],
  ])("with a document in %s: %j", async (collection, document) => {
    const { home, db } = named();
    await db.collection(collection).insertOne(document as Document);
    expect((await inProcess(home, ["list"])).code).toBe(0);
    expect((await inProcess(home, ["sync", "-u", "bob"], { env: FOUND })).code).toBe(0);
  });

  it("for one read, of a process that finds its id", async () => {
    const stub = await mongodbStub();
    const place = { uri: stub.uri, name: "mongodb://test/keys", from: "KEYCTL_STORE", allowNonAtomic: false };
    const store = mongoStore(place, 5_000, () => new Error("missing") as never);
    for (let call = 0; call < 3; call += 1) await store.find(parseUserId("alice"), patient);
    await store.close();
    const finds = stub.commands.filter(({ name }) => name === "find").map(({ document }) => String(document["find"]));
    expect(finds).toEqual(["api_key_meta", "api_keys", "api_keys", "api_keys"]);
  });
});

const REMOVALS: Readonly<Record<string, (database: Database) => Promise<unknown>>> = {
  "is dropped": ({ db }) => db.dropDatabase(),
  "is replaced by that of another store": ({ db }) =>
    db
      .collection<{ _id: string; value: string }>("api_key_meta")
      .updateOne({ _id: "deployment" }, { $set: { value: "0123456789abcdef" } }),
};

describeWithMongodb.each(Object.entries(REMOVALS))("a MongoDB database that %s under a program", (_, take) => {
  it("is not ready, and no key is created for it", async () => {
    const database = named();
    const { home } = database;
    const openRouter = await mockOpenRouter();
    const manager = await managerOfTest(home, { KEYCTL_CREATE_STORE: "1", ...environmentFor(openRouter) });
    expect((await manager.syncAndGetKey("alice")).error).toBeNull();
    await manager.check();
    await take(database);
    const gone = {
      code: "STORE_UNAVAILABLE",
      message: expect.stringContaining("was dropped or replaced while it was in use"),
    };
    await expect(manager.check()).rejects.toMatchObject(gone);
    expect((await manager.syncAndGetKey("bob")).error).toMatchObject(gone);
    expect((await manager.autoProvisionKey("carol")).error).toMatchObject(gone);
    expect(openRouter.count("POST /keys")).toBe(1);
  });

  it("takes no operation", async () => {
    const database = named();
    const place = { uri: database.uri, name: "mongodb://test/keys", from: "KEYCTL_STORE", allowNonAtomic: false };
    const store = mongoStore(place);
    try {
      await store.deployment(patient);
      await take(database);
      const entry = { ...operation(1), userId: parseUserId("alice"), at: "2026-11-22T00:00:00.000Z" };
      await expect(store.insertEntry(entry, patient)).rejects.toMatchObject({
        code: "STORE_UNAVAILABLE",
        mayHaveHappened: false,
      });
      expect(await database.db.collection("api_key_journal").countDocuments()).toBe(0);
    } finally {
      await store.close();
    }
  });
});

it("the read by which a database is told from a missing one fails as any other", async () => {
  const stub = await mongodbStub({ find: { ok: 0, code: 13, errmsg: "no" } });
  const home = emptyHome();
  const run = await inProcess(home, ["save", "-u", "alice", "--stdin", "--json"], {
    env: { KEYCTL_STORE: stub.uri, KEYCTL_MASTER_KEYS: jwkSet(newJwk()) },
    input: OTHER,
  });
  expect([run.code, errorOf(run)?.code]).toEqual([4, "STORE_DENIED"]);
  stub.answer({ find: firstBatch([]) });
  const again = await inProcess(home, ["list", "--json"], { env: { KEYCTL_STORE: stub.uri } });
  expect(errorOf(again)?.code).toBe("STORE_MISSING");
});
