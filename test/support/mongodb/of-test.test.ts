import { MongoClient, MongoServerError } from "mongodb";
import { describe, expect, it } from "vitest";
import { hasOpenssl, selfSigned } from "../fixtures/certificate.ts";
import { uriOf } from "./server.ts";
import { mongodb, databaseOfTest, emptyDatabase } from "./of-test.ts";
import { describeWithMongodb, describeWithOwnServer, serverOfTest } from "./of-test.ts";

const ID = { user_id: 1, provider: 1 } as const;
const ALICE = { user_id: "alice", provider: "openrouter" };

describe("the URI of a database on a given server", () => {
  it.each([
    ["mongodb://127.0.0.1:27017", "mongodb://127.0.0.1:27017/mine"],
    ["mongodb://one,two:2/theirs?tls=true", "mongodb://one,two:2/mine?tls=true"],
    ["mongodb://ann:pw@one", "mongodb://ann:pw@one/mine?authSource=admin"],
    ["mongodb+srv://ann:p%3Fw@one/theirs", "mongodb+srv://ann:p%3Fw@one/mine?authSource=theirs"],
    ["mongodb://ann:pw@one/theirs?authSource=users", "mongodb://ann:pw@one/mine?authSource=users"],
  ])("of %s is %s", (server, expected) => {
    expect(uriOf(server, "mine")).toBe(expected);
  });
});

describeWithMongodb("the shared MongoDB server", () => {
  it("keeps what is inserted, and one of each unique id", async () => {
    const keys = databaseOfTest().db.collection("api_keys");
    await keys.createIndex(ID, { unique: true });
    await keys.insertOne({ ...ALICE, revision: 1 });

    const second = await keys.insertOne({ ...ALICE, revision: 2 }).catch((error: unknown) => error);

    expect(second).toBeInstanceOf(MongoServerError);
    expect(second).toMatchObject({ code: 11000 });
    expect(await keys.find(ALICE).toArray()).toMatchObject([{ revision: 1 }]);
  });

  it("gives every test a database of its own, and forgets it", async () => {
    const { db, uri, remove } = emptyDatabase();
    const rowsBefore = await db.collection("api_keys").countDocuments();
    await db.collection("api_keys").insertOne({ ...ALICE });

    await remove();

    await using client = new MongoClient(uri);
    expect(rowsBefore).toBe(0);
    expect(await client.db().listCollections().toArray()).toEqual([]);
  });

  it.skipIf(mongodb?.kind === "given")("is what it is said to be", async () => {
    const { ferretdbVersion } = await databaseOfTest().db.command({ buildInfo: 1 });

    expect(ferretdbVersion === undefined ? "mongod" : "ferretdb").toBe(mongodb?.kind);
  });
});

describeWithOwnServer("a server of a test's own", () => {
  it("has after kill -9 and a restart what it had before", async () => {
    const server = await serverOfTest();
    await using client = new MongoClient(uriOf(server.uri, "mine"));
    await client
      .db()
      .collection("api_keys")
      .insertOne(ALICE, { writeConcern: { w: "majority", j: true } });

    await server.kill();
    await server.restart();

    expect(await client.db().collection("api_keys").findOne()).toMatchObject(ALICE);
  });

  it.skipIf(!hasOpenssl)("speaks TLS with a certificate of the test's", async () => {
    const tls = selfSigned();
    const server = await serverOfTest(tls);
    await using client = new MongoClient(server.uri, { tlsCAFile: tls.certificate });
    await using distrustful = new MongoClient(server.uri, { serverSelectionTimeoutMS: 200 });

    expect(await client.db("admin").command({ ping: 1 })).toMatchObject({ ok: 1 });
    await expect(distrustful.db("admin").command({ ping: 1 })).rejects.toThrow(/self.signed certificate/);
  });
});
