import { ObjectId } from "mongodb";
import { describe, expect, it, onTestFinished } from "vitest";
import type { StoreFacts } from "../../../src/core/ports/stores-and-sources.ts";
import { mongoStore } from "../../../src/stores/mongo/store.ts";
import { emptyHome } from "../../support/home/home.ts";
import { documentsOf, inProcess } from "../../support/programs/in-process.ts";
import { newJwk } from "../../support/fixtures/jwk.ts";
import { KEY, OTHER, USER } from "../../support/fixtures/keys.ts";
import { FAILURES } from "../../support/mongodb/failures.ts";
import { failure, firstBatch, mongodbStub } from "../../support/mongodb/stub.ts";
import type { Answers } from "../../support/mongodb/stub.ts";
import { databaseOfTest, describeWithMongodb } from "../../support/mongodb/of-test.ts";

const patient = new AbortController().signal;

/** A store on a database of the test's own, and that database. */
function storeOfTest() {
  const { uri, db } = databaseOfTest();
  const store = mongoStore({ uri, name: "mongodb://test/keys", from: "--store", allowNonAtomic: true });
  onTestFinished(() => store.close());
  return { store, db, uri };
}

describeWithMongodb("the inspection of a MongoDB database", () => {
  it("says its server and its topology, makes nothing and leaves nothing behind", async () => {
    const { store, db } = storeOfTest();
    const { server, details, refusal } = await store.inspect(patient);
    expect(server).toMatch(/^(MongoDB \d+\.\d+\.\d+|FerretDB)/);
    expect(details).toEqual([expect.stringMatching(/^(standalone|sharded cluster|replica set \w+)$/)]);
    expect(refusal).toBeNull();
    expect(await db.listCollections().toArray()).toEqual([]);
  });

  it("says whether the indexes are there, where there are rows", async () => {
    const { store, db } = storeOfTest();
    await db.collection("api_keys").insertOne({ user_id: "alice", key_encrypted: KEY });
    const { details, problems } = await store.inspect(patient);
    expect(details).not.toContain("index present");
    expect(problems.map(({ message }) => message)).toContainEqual(expect.stringContaining("user_id_1_provider_1"));
    expect(await db.collection("api_keys").countDocuments()).toBe(1);
  });

  it("names users who have a row under an ObjectId and one under text", async () => {
    const { store, db } = storeOfTest();
    await db.collection("api_keys").insertMany([
      { user_id: new ObjectId(USER), key_encrypted: KEY },
      { user_id: USER.toUpperCase(), key_encrypted: OTHER },
      { user_id: "68e228e87f803a11a4e23046", key_encrypted: OTHER },
      // A list is nobody's row.
      { user_id: ["68e228e87f803a11a4e23047", "x"], key_encrypted: OTHER },
      { user_id: [new ObjectId("68e228e87f803a11a4e23046")], key_encrypted: OTHER },
      { user_id: new ObjectId("68e228e87f803a11a4e23046"), provider: "another", key_encrypted: OTHER },
    ]);
    const twins = (await store.inspect(patient)).problems.filter(({ message }) => message.includes("two rows"));
    expect(twins).toMatchObject([
      { isFailure: true, message: expect.stringMatching(`^1 user has two rows.*: ${USER}$`) },
    ]);
  });

  it("is part of doctor, beside the keys in plain text that another program wrote", async () => {
    const { db, uri } = storeOfTest();
    await db.collection("api_keys").insertOne({ user_id: new ObjectId(USER), key_encrypted: KEY, source: "manual" });
    const env = { PATH: "/none", KEYCTL_STORE: uri, KEYCTL_MASTER_KEYS: newJwk().k };
    const run = await inProcess(emptyHome(), ["doctor", "--json"], { env });
    expect(run.code).toBe(10);
    const checks = documentsOf(run)[0]?.["checks"] as readonly Record<string, unknown>[];
    expect(checks).toContainEqual({
      id: "encryption",
      status: "fail",
      message: "1 key is stored in plain text",
      hint: "keyctl rekey",
    });
    expect(checks.find(({ id }) => id === "server")).toMatchObject({ message: expect.stringMatching(/, writable$/) });
  });
});

async function factsOf(answers: Answers) {
  const { uri } = await mongodbStub(answers);
  const store = mongoStore({ uri, name: uri, from: "--store", allowNonAtomic: false });
  onTestFinished(() => store.close());
  return store.inspect(patient);
}
const sharded = (...collections: readonly object[]): Answers => ({
  ...FAILURES.router,
  find: ({ document }) => firstBatch(document["find"] === "collections" ? collections : []),
});
const shardingOf = ({ problems }: StoreFacts) => problems.filter(({ message }) => message.includes("is sharded by"));

describe("the inspection of a server that is not here", () => {
  it.each([
    [{ ferretdb: { version: "v2.5.0", package: "docker" } }, "FerretDB 2.5.0 (speaks as MongoDB 7.0.77)"],
    [{ ferretdb: {} }, "FerretDB 2 (speaks as MongoDB 7.0.77)"],
    [{ ferretdbVersion: "v1.24.2" }, "FerretDB 1.24.2 (speaks as MongoDB 7.0.77)"],
    [{ ferretdbVersion: "unknown" }, "FerretDB 1 (speaks as MongoDB 7.0.77)"],
    [{}, "MongoDB 7.0.77"],
  ])("names FerretDB by its own version: %j", async (build, expected) => {
    const { server } = await factsOf({ buildInfo: { ok: 1, version: "7.0.77", ...build } });
    expect(server).toBe(expected);
  });

  it("names a journal that is sharded by anything but its _id, and how to put that right", async () => {
    const collections = [
      { _id: "keys.api_key_journal", key: { user_id: 1 } },
      { _id: "keys.api_key_meta", key: { _id: 1, kind: 1 } },
    ];
    expect(shardingOf(await factsOf(sharded(...collections)))).toEqual([
      {
        isFailure: true,
        message:
          "api_key_journal is sharded by user_id: its _id, which decides between two commands, is unique on each shard only",
        hint: 'in mongosh: sh.reshardCollection("keys.api_key_journal", { _id: 1 })',
      },
      expect.objectContaining({ message: expect.stringContaining("api_key_meta is sharded by _id, kind: ") }),
    ]);
  });

  it.each([{ _id: 1 }, { _id: "hashed" }])("has nothing to say of a journal that is sharded by %j", async (key) => {
    expect(shardingOf(await factsOf(sharded({ _id: "keys.api_key_journal", key })))).toEqual([]);
  });

  it("says nothing of shards where this user may not read about them", async () => {
    const denied: Answers = {
      ...FAILURES.router,
      find: ({ document }) => (document["find"] === "collections" ? failure(13, "Unauthorized") : firstBatch([])),
    };
    const facts = await factsOf(denied);
    expect(facts.details).toContain("sharded cluster");
    expect(shardingOf(facts)).toEqual([]);
  });

  it("asks no single server about shards", async () => {
    const { uri, commands } = await mongodbStub();
    const store = mongoStore({ uri, name: uri, from: "--store", allowNonAtomic: false });
    onTestFinished(() => store.close());
    await store.inspect(patient);
    expect(commands.filter(({ document }) => document["$db"] === "config")).toEqual([]);
  });
});
