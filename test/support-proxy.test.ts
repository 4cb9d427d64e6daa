import { MongoClient, MongoNetworkError, MongoNetworkTimeoutError } from "mongodb";
import { expect, it, onTestFinished } from "vitest";
import { databaseOfTest, describeWithMongodb } from "./support/mongodb.ts";
import { on, tcpProxy } from "./support/tcp-proxy.ts";

const ROW = { user_id: "alice", provider: "openrouter" };
const SOON_MS = 200;

/** A database, and the way to it over a proxy. */
async function overProxy(options = {}) {
  const { uri, db } = databaseOfTest();
  const proxy = await tcpProxy(uri);
  const client = new MongoClient(proxy.uri, { retryWrites: false, retryReads: false, maxPoolSize: 1, ...options });
  onTestFinished(() => client.close());
  return { proxy, rows: db.collection("api_keys"), keys: client.db().collection("api_keys") };
}

function failureOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(() => "no failure").catch((error: unknown) => error);
}

describeWithMongodb("the proxy", () => {
  it("passes everything, and says which commands", async () => {
    const { proxy, keys } = await overProxy();

    await keys.insertOne({ ...ROW });

    expect(await keys.findOne()).toMatchObject(ROW);
    expect(proxy.commands.filter((name) => ["insert", "find"].includes(name))).toEqual(["insert", "find"]);
  });

  it("loses the answer of exactly one insert, which is there", async () => {
    const { proxy, keys, rows } = await overProxy();
    proxy.behave(on("insert", "cut-answer", 1));

    expect(await failureOf(keys.insertOne({ ...ROW }))).toBeInstanceOf(MongoNetworkError);
    await keys.insertOne({ user_id: "bob" });

    expect(await rows.countDocuments()).toBe(2);
    expect(proxy.commands.filter((name) => name === "insert")).toHaveLength(2);
  });

  it("loses an answer without a word, until the client stops waiting", async () => {
    const { proxy, keys, rows } = await overProxy({ socketTimeoutMS: SOON_MS });
    proxy.behave(on("insert", "lose-answer"));

    expect(await failureOf(keys.insertOne({ ...ROW }))).toBeInstanceOf(MongoNetworkTimeoutError);
    expect(await rows.countDocuments()).toBe(1);
  });

  it.each(["cut", "swallow"] as const)("lets no insert arrive that it is told to %s", async (action) => {
    const { proxy, keys, rows } = await overProxy({ socketTimeoutMS: SOON_MS });
    proxy.behave(on("insert", action));

    expect(await failureOf(keys.insertOne({ ...ROW }))).toBeInstanceOf(MongoNetworkError);
    expect(await rows.countDocuments()).toBe(0);
  });

  it("half-closes in the place of an answer", async () => {
    const { proxy, keys, rows } = await overProxy();
    proxy.behave(on("insert", "half-close"));

    expect(await failureOf(keys.insertOne({ ...ROW }))).toBeInstanceOf(MongoNetworkError);
    expect(await rows.countDocuments()).toBe(1);
  });

  it("delays", async () => {
    const { proxy, keys } = await overProxy();
    await keys.findOne();
    proxy.behave({ delayMs: SOON_MS });
    const started = performance.now();

    await keys.findOne();

    // Timers may be a millisecond early.
    expect(performance.now() - started).toBeGreaterThan(SOON_MS - 2);
  });

  it("cuts open connections, refuses new ones, and takes them again", async () => {
    const { proxy, keys } = await overProxy({ serverSelectionTimeoutMS: SOON_MS });
    await keys.findOne();

    proxy.refuse();
    proxy.cut();
    const refused = await failureOf(keys.findOne());
    await proxy.accept();

    expect(refused).toBeInstanceOf(Error);
    expect(await keys.findOne()).toBeNull();
  });
});
