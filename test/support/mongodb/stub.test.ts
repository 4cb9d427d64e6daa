import { MongoClient, MongoCompatibilityError, MongoServerSelectionError } from "mongodb";
import type { Collection, MongoClientOptions } from "mongodb";
import { describe, expect, it, onTestFinished } from "vitest";
import { FAILURES } from "./failures.ts";
import { SERVER_TEXT, firstBatch, mongodbStub } from "./stub.ts";
import type { Answers, MongodbStub } from "./stub.ts";

const ROW = { user_id: "alice", provider: "openrouter" };
const QUICKLY = { retryWrites: false, retryReads: false, serverSelectionTimeoutMS: 200 };
const PASSWORD: MongoClientOptions = { auth: { username: "ann", password: "not this one" } };

type Keys = Collection;
type Work = (keys: Keys) => Promise<unknown>;

const find: Work = (keys) => keys.find({ user_id: "alice" }).toArray();
const insert: Work = (keys) => keys.insertOne({ ...ROW });
const insertMany: Work = (keys) => keys.insertMany([{ ...ROW }, { user_id: "bob" }], { ordered: false });
const update: Work = (keys) => keys.updateOne(ROW, { $set: { revision: 2 } });
const replaceAndFind: Work = (keys) => keys.findOneAndReplace(ROW, ROW);
const index: Work = (keys) => keys.createIndex({ user_id: 1, provider: 1 }, { unique: true });

function keysOf({ uri }: MongodbStub, options: MongoClientOptions = {}): Keys {
  const client = new MongoClient(uri, { ...QUICKLY, ...options });
  onTestFinished(() => client.close());
  return client.db().collection("api_keys");
}

async function failureOf(answers: Answers, work: Work, options?: MongoClientOptions): Promise<unknown> {
  const stub = await mongodbStub(answers);
  return work(keysOf(stub, options))
    .then(() => "no failure")
    .catch((error: unknown) => error);
}

describe("the stub of a MongoDB server", () => {
  it("is healthy and empty when it is told nothing", async () => {
    const keys = keysOf(await mongodbStub());

    expect(await find(keys)).toEqual([]);
    expect(await keys.countDocuments()).toBe(0);
    expect(await insertMany(keys)).toMatchObject({ insertedCount: 2 });
    expect(await update(keys)).toMatchObject({ matchedCount: 1 });
    expect(await keys.deleteOne(ROW)).toMatchObject({ deletedCount: 1 });
    expect(await index(keys)).toBe("user_id_1_provider_1");
  });

  it("finds what it is told, and knows what it was asked", async () => {
    const stub = await mongodbStub();
    stub.answer({ find: firstBatch([ROW]) });
    const keys = keysOf(stub);

    expect(await find(keys)).toEqual([ROW]);
    await insert(keys);

    const inserts = stub.commands.filter(({ name }) => name === "insert");
    expect(inserts).toMatchObject([{ document: { insert: "api_keys", documents: [ROW], $db: "keys" } }]);
  });

  it.each<[keyof typeof FAILURES, Work, number]>([
    ["noLogin", find, 13],
    ["noLogin", index, 13],
    ["readOnlyRole", insert, 13],
    ["readOnlyRoleOnAtlas", insert, 8000],
    ["mayNotIndex", index, 13],
    ["notPrimary", insert, 10107],
    ["shuttingDown", insert, 91],
    ["interruptedAtShutdown", find, 11600],
    ["steppingDown", replaceAndFind, 11602],
    ["noMajority", insert, 64],
    ["noMajority", insertMany, 64],
    ["noMajority", update, 64],
    ["shuttingDownAfterTheWrite", insert, 91],
    ["tooSlow", find, 50],
    ["cursorLost", find, 43],
    ["shardWithoutPrimary", find, 133],
    ["shardUnreachable", insert, 6],
    ["shardKeyMissing", update, 61],
    ["shardKeyMissing", replaceAndFind, 61],
    ["diskFull", insert, 14031],
    ["diskFull", index, 14031],
    ["quotaUsedUpOnAtlas", insertMany, 8000],
    ["refusedByItsSchema", insert, 121],
  ])("%s: %s fails with code %i", async (name, work, code) => {
    const message = expect.stringContaining(SERVER_TEXT) as unknown;
    expect(await failureOf(FAILURES[name], work)).toMatchObject({ code, message });
  });

  it.each([
    ["wrongPassword", 18],
    ["wrongPasswordOnAtlas", 8000],
  ] as const)("%s fails with code %i", async (name, code) => {
    expect(await failureOf(FAILURES[name], find, PASSWORD)).toMatchObject({ code });
  });

  it("is too old for the driver, which then waits for another server", async () => {
    const cause = expect.any(MongoCompatibilityError) as unknown;
    expect(await failureOf(FAILURES.tooOld, find)).toMatchObject({ name: "MongoServerSelectionError", cause });
  });

  it("is no primary, and the driver waits for one", async () => {
    expect(await failureOf(FAILURES.noPrimary, find)).toBeInstanceOf(MongoServerSelectionError);
  });

  it("answers as a sharded cluster's router", async () => {
    expect(await failureOf(FAILURES.router, find)).toBe("no failure");
  });
});
