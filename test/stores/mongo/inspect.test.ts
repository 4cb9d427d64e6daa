import { ObjectId } from "mongodb";
import { expect, it, onTestFinished } from "vitest";
import { mongoStore } from "../../../src/stores/mongo/store.ts";
import { emptyHome } from "../../support/home/home.ts";
import { documentsOf, inProcess } from "../../support/programs/in-process.ts";
import { newJwk } from "../../support/fixtures/jwk.ts";
import { KEY, OTHER, USER } from "../../support/fixtures/keys.ts";
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
      { user_id: new ObjectId("68e228e87f803a11a4e23046"), provider: "another", key_encrypted: OTHER },
    ]);
    const twins = (await store.inspect(patient)).problems.filter(({ message }) => message.includes("two rows"));
    expect(twins).toMatchObject([
      { isFailure: true, message: expect.stringMatching(`^1 user has two rows.*: ${USER}$`) },
    ]);
  });

  it("is part of doctor, beside the keys in clear that another program wrote", async () => {
    const { db, uri } = storeOfTest();
    await db.collection("api_keys").insertOne({ user_id: new ObjectId(USER), key_encrypted: KEY, source: "manual" });
    const env = { PATH: "/none", KEYCTL_STORE: uri, KEYCTL_MASTER_KEYS: newJwk().k };
    const run = await inProcess(emptyHome(), ["doctor", "--json"], { env });
    expect(run.code).toBe(10);
    const checks = documentsOf(run)[0]?.["checks"] as readonly Record<string, unknown>[];
    expect(checks).toContainEqual({
      id: "encryption",
      status: "fail",
      message: "1 key is stored in clear",
      hint: "keyctl rekey",
    });
    expect(checks.find(({ id }) => id === "server")).toMatchObject({ message: expect.stringMatching(/, writable$/) });
  });
});
