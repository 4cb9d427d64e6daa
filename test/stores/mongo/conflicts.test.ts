import { describe, expect, it, onTestFinished } from "vitest";
import { ApiKey } from "../../../src/core/model/api-key.ts";
import { newRecord } from "../../../src/core/model/key-record.ts";
import type { KeyRecord } from "../../../src/core/model/key-record.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { insertRow, insertRows } from "../../../src/core/protocol/write-row.ts";
import { toDocument } from "../../../src/stores/mongo/document.ts";
import { mongoStore } from "../../../src/stores/mongo/store.ts";
import { CONFLICTS } from "../../support/mongodb/failures.ts";
import { KEY } from "../../support/fixtures/keys.ts";
import { failure, firstBatch, mongodbStub, writeFailures } from "../../support/mongodb/stub.ts";
import type { Answers, MongodbStub } from "../../support/mongodb/stub.ts";

const patient = new AbortController().signal;
const MAX_TIME_EXPIRED = failure(50, "MaxTimeMSExpired");
const FERRETDB_2 = { ok: 1, version: "7.0.77", ferretdb: { version: "v2.5.0" } };
const INSERTED = { ok: 1, n: 1 };

const rowOf = (user: string): KeyRecord => {
  const key = ApiKey.parse(KEY);
  if (key === undefined) throw new Error("this is not a key");
  return newRecord(parseUserId(user), { key, sealed: KEY, origin: "manual", now: "2026-11-24T00:00:00.000Z" });
};
const alice = rowOf("alice");

/** These answers to a command one after the other; the last one from then on. */
function inTurn(...answers: readonly object[]): () => object {
  let next = 0;
  return () => answers[Math.min(next++, answers.length - 1)] ?? {};
}

async function storeOver(answers: Answers, timeoutMs = 30_000) {
  const stub = await mongodbStub(answers);
  const store = mongoStore({ uri: stub.uri, name: stub.uri, from: "--store", allowNonAtomic: false }, timeoutMs);
  onTestFinished(() => store.close());
  return { stub, store };
}

const inserts = ({ commands }: MongodbStub): readonly (readonly string[])[] =>
  commands
    .filter(({ name, document }) => name === "insert" && document["insert"] === "api_keys")
    .map(({ document }) => (document["documents"] as readonly { user_id: string }[]).map(({ user_id }) => user_id));

/** What is read by user; nobody's id stands there in another form. */
const found = (...rows: readonly KeyRecord[]): Answers => ({
  find({ document }) {
    if (document["find"] !== "api_keys") return firstBatch([{ _id: "deployment", value: "9f2c0a7d41b6e853" }]);
    return firstBatch("user_id" in (document["filter"] as object) ? rows.map(toDocument) : []);
  },
});

describe("a write that met another program's", () => {
  it.each(Object.entries(CONFLICTS))("is sent again, for nothing was written: %s", async (_, answer) => {
    const { stub, store } = await storeOver({ insert: inTurn(answer, answer, answer, INSERTED) });
    expect(await store.insert(alice, patient)).toBe(true);
    expect(inserts(stub)).toHaveLength(4);
  });

  it.each(Object.entries(CONFLICTS))("is sent again when it changes or removes a row: %s", async (_, answer) => {
    const { store } = await storeOver({
      update: inTurn(answer, { ok: 1, n: 1, nModified: 1 }),
      delete: inTurn(answer, { ok: 1, n: 0 }),
    });
    expect(await store.replace({ ...alice, revision: 2 }, alice, patient)).toBe(true);
    expect(await store.remove(alice.userId, alice, patient)).toBe(false);
  });

  it.each(Object.entries(CONFLICTS))("may be the first one, which makes the indexes: %s", async (_, answer) => {
    const made = { ok: 1, numIndexesBefore: 1, numIndexesAfter: 2 };
    const { store } = await storeOver({ createIndexes: inTurn(answer, made, answer, made) });
    expect(await store.insert(alice, patient)).toBe(true);
  });

  // The time may be over while an answer is under way: then the write is open, as any other.
  it("is given up when the time is over, and certainly was not done", { retry: 4 }, async () => {
    const { stub, store } = await storeOver({ insert: CONFLICTS.writeConflict }, 4_000);
    await expect(store.insert(alice, AbortSignal.timeout(1_500))).rejects.toMatchObject({
      code: "STORE_UNAVAILABLE",
      message: expect.stringContaining("is busy: other programs write the same rows"),
      retryable: true,
      mayHaveHappened: false,
    });
    const sent = inserts(stub).length;
    expect(sent).toBeGreaterThan(3);
    // Pauses grow: without them there would be hundreds.
    expect(sent).toBeLessThan(60);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(inserts(stub)).toHaveLength(sent);
  });
});

describe("a write that the server has stopped because it took too long", () => {
  it("is read back and not sent again, for MongoDB may have done it", async () => {
    const { stub, store } = await storeOver({ insert: MAX_TIME_EXPIRED });
    await expect(insertRow(store, alice, patient)).rejects.toMatchObject({ mayHaveHappened: true });
    expect(inserts(stub)).toHaveLength(1);
    stub.answer(found(alice));
    expect(await insertRow(store, alice, patient)).toBe(true);
    expect(inserts(stub)).toHaveLength(2);
  });

  it("is sent again to FerretDB 2, which has rolled it back", async () => {
    const { stub, store } = await storeOver({ buildInfo: FERRETDB_2, insert: inTurn(MAX_TIME_EXPIRED, INSERTED) });
    expect(await insertRow(store, alice, patient)).toBe(true);
    expect(inserts(stub)).toHaveLength(2);
  });

  it("is read back where the server does not say what it is", async () => {
    const answers = { buildInfo: failure(13, "Unauthorized"), insert: MAX_TIME_EXPIRED };
    const { stub, store } = await storeOver(answers);
    await expect(insertRow(store, alice, patient)).rejects.toMatchObject({ mayHaveHappened: true });
    expect(inserts(stub)).toHaveLength(1);
  });
});

describe("a write that the server called failed", () => {
  it("is read back, and was done: the server had lost its storage only after that", async () => {
    const { store } = await storeOver({ ...found(alice), insert: failure(1, "InternalError") });
    expect(await insertRow(store, alice, patient)).toBe(true);
    expect(await insertRows(store, [alice], patient)).toEqual([true]);
  });
});

describe("a write whose failure is open", () => {
  it("says what the server has answered", async () => {
    const { store } = await storeOver({ insert: failure(1, "InternalError") });
    await expect(insertRow(store, alice, patient)).rejects.toMatchObject({
      hint: expect.stringMatching(/answered with an error \(MongoDB error code 1\)$/),
    });
  });
});

describe("a batch of inserts", () => {
  const [bob, carol, dave, erin] = ["bob", "carol", "dave", "erin"].map(rowOf) as [
    KeyRecord,
    KeyRecord,
    KeyRecord,
    KeyRecord,
  ];

  it("goes in the order of the user ids, and is reported in the order that was given", async () => {
    const { stub, store } = await storeOver({ insert: writeFailures({ 2: 11_000 }) });
    expect(await store.insertMany([dave, alice, carol, bob], patient)).toEqual([true, true, false, true]);
    expect(inserts(stub)).toEqual([["alice", "bob", "carol", "dave"]]);
  });

  it("is judged row by row: only those that met a conflict are sent again", async () => {
    const { stub, store } = await storeOver({
      insert: inTurn(
        writeFailures({ 0: 112, 1: 11_000, 3: 16_908_292 }),
        writeFailures({ 0: 11_000, 1: 112 }),
        writeFailures({}),
      ),
    });
    expect(await store.insertMany([alice, bob, carol, dave], patient)).toEqual([false, false, true, true]);
    expect(inserts(stub)).toEqual([["alice", "bob", "carol", "dave"], ["alice", "dave"], ["dave"]]);
  });

  it("is read back when a conflict ended it as a whole, and the rest is sent again", async () => {
    const { stub, store } = await storeOver({
      ...found(alice, { ...bob, id: "another" }),
      insert: inTurn(CONFLICTS.deadlock, writeFailures({})),
    });
    expect(await store.insertMany([carol, alice, bob], patient)).toEqual([true, true, false]);
    expect(inserts(stub)).toEqual([["alice", "bob", "carol"], ["carol"]]);
  });

  it("says what else has failed when all others are decided, and that this one may be there", async () => {
    const answers = inTurn(writeFailures({ 0: 11_000, 1: 112, 2: 121, 3: 1 }), writeFailures({}));
    const { stub, store } = await storeOver({ insert: answers });
    await expect(store.insertMany([alice, bob, carol, dave, erin], patient)).rejects.toMatchObject({
      message: expect.stringContaining("MongoDB error code 1)"),
      mayHaveHappened: true,
    });
    expect(inserts(stub)).toEqual([["alice", "bob", "carol", "dave", "erin"], ["bob"]]);
  });

  it("was certainly not done in those rows that the server has refused", async () => {
    const { store } = await storeOver({ insert: writeFailures({ 0: 11_000, 1: 121 }) });
    await expect(store.insertMany([alice, bob, carol], patient)).rejects.toMatchObject({
      code: "STORE_DENIED",
      message: expect.stringContaining("has a validation rule for api_keys"),
      mayHaveHappened: false,
    });
  });
});
