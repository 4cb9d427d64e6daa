import { createHash } from "node:crypto";
import { ObjectId } from "mongodb";
import type { Document } from "mongodb";
import { expect, it, onTestFinished } from "vitest";
import { ApiKey } from "../../../src/core/model/api-key.ts";
import type { Operation, Recorded } from "../../../src/core/ports/journal.ts";
import { newRecord, NO_TERMS, NOT_RENEWED } from "../../../src/core/model/key-record.ts";
import type { KeyRecord } from "../../../src/core/model/key-record.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { mongoStore } from "../../../src/stores/mongo/store.ts";
import { KEY, USER } from "../../support/fixtures/keys.ts";
import { databaseOfTest, describeWithMongodb } from "../../support/mongodb/of-test.ts";
import { on, tcpProxy } from "../../support/mongodb/tcp-proxy.ts";

const patient = new AbortController().signal;
const ALICE = parseUserId("alice");
const NOW = "2026-11-22T00:00:00.000Z";
const LATER = "2027-02-20T02:14:07.000Z";
const HASH_OF_ALICE = createHash("sha256").update("alice").digest("hex");

const OPERATION: Recorded<Operation> = {
  kind: "op",
  n: 1,
  userId: ALICE,
  at: NOW,
  nonce: "77d0c1b2a3948576",
  label: "the first",
  limit: 5,
  limitReset: "monthly",
  expiresAt: LATER,
  workspace: null,
  deliberate: false,
};

const MADE: KeyRecord = {
  ...newRecord(ALICE, { key: keyOf(KEY), sealed: "eyJ0eXAi.sealed...", origin: "auto-provisioned", now: NOW }),
  generation: 2,
  settled: false,
  name: "keyctl/9f2c0a7d41b6e853/2bd806c97f0e/2-77d0c1b2a3948576",
  label: "the second",
  limit: 2.5,
  limitReset: "weekly",
  expiresAt: LATER,
  upstreamHash: null,
  previous: {
    revoke: true,
    graceMs: null,
    generation: 1,
    keyHash: "a".repeat(64),
    keyEncrypted: "eyJ0eXAi.former...",
    keyTail: "a123",
    origin: "auto-provisioned",
    ...NO_TERMS,
    ...NOT_RENEWED,
    expiresAt: LATER,
    createdAt: NOW,
    lastValidated: null,
    lastCheck: { at: NOW, verdict: "valid", reason: null },
  },
};

function keyOf(text: string): ApiKey {
  const key = ApiKey.parse(text);
  if (key === undefined) throw new Error("a key of the usual shape was refused");
  return key;
}

function storeOfTest(viaUri?: string) {
  const { uri, db } = databaseOfTest();
  const store = mongoStore({
    uri: viaUri ?? uri,
    name: "mongodb://test/keys",
    from: "KEYCTL_STORE",
    allowNonAtomic: false,
  });
  onTestFinished(() => store.close());
  return { uri, store, keys: db.collection("api_keys"), journal: db.collection("api_key_journal"), db };
}

describeWithMongodb("a record of the journal", () => {
  it("is one document under the id that decides", async () => {
    const { store, journal } = storeOfTest();
    const objectId = parseUserId(USER);
    await store.insertEntry(OPERATION, patient);
    await store.insertEntry(
      { kind: "out", n: 12, userId: objectId, at: NOW, outcome: "saved", hash: "b".repeat(64), upstreamHash: null },
      patient,
    );
    expect(await journal.findOne({ user_id: "alice" })).toEqual({
      _id: `${HASH_OF_ALICE}:openrouter:op:00000001`,
      user_id: "alice",
      kind: "op",
      n: 1,
      at: new Date(NOW),
      nonce: "77d0c1b2a3948576",
      label: "the first",
      limit: 5,
      limit_reset: "monthly",
      expires_at: new Date(LATER),
      workspace: null,
    });
    expect(await journal.findOne({ kind: "out" })).toEqual({
      _id: `${createHash("sha256").update(USER).digest("hex")}:openrouter:out:00000012`,
      user_id: new ObjectId(USER),
      kind: "out",
      n: 12,
      at: new Date(NOW),
      outcome: "saved",
      hash: "b".repeat(64),
      upstream_hash: null,
    });
  });

  it("of an operation that a person asked for says so, and of any other says nothing", async () => {
    const { store, journal } = storeOfTest();
    await store.insertEntry({ ...OPERATION, deliberate: true }, patient);
    expect(await journal.findOne({})).toMatchObject({ kind: "op", deliberate: true });
    expect(await store.entry(ALICE, "op", 1, patient)).toEqual({ ...OPERATION, deliberate: true });
  });

  it("is inserted into a collection that has its indexes, which nothing else makes", async () => {
    const { store, journal, db } = storeOfTest();
    await store.insert(
      newRecord(ALICE, { key: keyOf(KEY), sealed: "eyJ0eXAi.sealed...", origin: "manual", now: NOW }),
      patient,
    );
    expect(await store.entries(ALICE, patient)).toEqual([]);
    expect((await db.listCollections().toArray()).map(({ name }) => name)).toEqual(["api_keys"]);
    await store.insertEntry(OPERATION, patient);
    const indexes = await journal.listIndexes().toArray();
    expect(indexes.map(({ key }) => Object.keys(key as object).join(", ")).toSorted()).toEqual([
      "_id",
      "hash",
      "kind, deliberate, at",
      "retire_at",
      "upstream_hash",
    ]);
    expect(indexes.filter(({ unique }) => unique === true)).toEqual([]);
  });

  it("of a kind, provider or shape that this version does not know is no entry, and is left alone", async () => {
    const { store, journal } = storeOfTest();
    await store.insertEntry(OPERATION, patient);
    const others = ["openrouter:renewed:00000001", "anthropic:op:00000009", "openrouter:op:last"].map((rest) => ({
      _id: `${HASH_OF_ALICE}:${rest}`,
      user_id: "alice",
      at: new Date(NOW),
    }));
    await journal.insertMany(others as Document[]);
    expect(await store.entries(ALICE, patient)).toEqual([OPERATION]);
    const scanned = [];
    for await (const entry of store.scanJournal(() => patient)) scanned.push(entry);
    expect(scanned).toEqual([OPERATION]);
    expect(await journal.countDocuments()).toBe(4);
  });

  it.each<readonly [string, Document]>([
    ["an operation without its nonce", { nonce: null }],
    ["one without its time", { at: "yesterday" }],
  ])("is never taken for absent when it is damaged: %s", async (_, damage) => {
    const { store, journal } = storeOfTest();
    await store.insertEntry(OPERATION, patient);
    await journal.updateOne({}, { $set: damage });
    const refusal = {
      code: "STORE_CORRUPT",
      message: `the record ${HASH_OF_ALICE}:openrouter:op:00000001 of api_key_journal cannot be read`,
    };
    await expect(store.entry(ALICE, "op", 1, patient)).rejects.toMatchObject(refusal);
    await expect(store.lastOperation(ALICE, patient)).rejects.toMatchObject(refusal);
    expect(await store.insertEntry(OPERATION, patient)).toBe(false);
  });

  it("may have been written when the answer is lost, is not sent again, and is there", async () => {
    const { uri } = databaseOfTest();
    const proxy = await tcpProxy(uri);
    const { store } = storeOfTest(proxy.uri);
    await store.insertEntry(OPERATION, patient);
    proxy.behave(on("insert", "cut-answer"));
    const next = { ...OPERATION, n: 2 };
    await expect(store.insertEntry(next, patient)).rejects.toMatchObject({
      code: "STORE_UNAVAILABLE",
      mayHaveHappened: true,
    });
    expect(proxy.commands.filter((name) => name === "insert")).toHaveLength(2);
    expect(await store.lastOperation(ALICE, patient)).toEqual(next);
  });

  it("was not written when it never arrived, and nobody says that it was", async () => {
    const { uri } = databaseOfTest();
    const proxy = await tcpProxy(uri);
    const { store } = storeOfTest(proxy.uri);
    await store.insertEntry(OPERATION, patient);
    proxy.behave(on("insert", "cut"));
    await expect(store.insertEntry({ ...OPERATION, n: 2 }, patient)).rejects.toMatchObject({ mayHaveHappened: true });
    expect(await store.entry(ALICE, "op", 2, patient)).toBeUndefined();
  });
});

describeWithMongodb("the id of a database", () => {
  it("is made when it is first asked for, and is that of its check record", async () => {
    const { store, db } = storeOfTest();
    const deployment = await store.deployment(patient);
    await store.insertFirstKeyCheckValue({ kid: "kid", value: "eyJ" }, patient);
    expect(await db.collection("api_key_meta").findOne({ _id: "deployment" as never })).toEqual({
      _id: "deployment",
      value: deployment,
    });
  });

  it("is not made up anew when it is damaged", async () => {
    const { store, db } = storeOfTest();
    await db.collection("api_key_meta").insertOne({ _id: "deployment" as never, value: "mine" });
    await expect(store.deployment(patient)).rejects.toMatchObject({ code: "STORE_CORRUPT" });
  });
});

describeWithMongodb("a document of a key that was made", () => {
  it("has its terms and the note of what was before, in the names of the database", async () => {
    const { store, keys } = storeOfTest();
    await store.insert(MADE, patient);
    expect(await keys.findOne({})).toMatchObject({
      name: MADE.name,
      label: "the second",
      limit: 2.5,
      limit_reset: "weekly",
      expires_at: new Date(LATER),
      upstream_hash: null,
      previous: {
        revoke: true,
        generation: 1,
        key_hash: "a".repeat(64),
        key_encrypted: "eyJ0eXAi.former...",
        key_tail: "a123",
        source: "auto-provisioned",
        name: null,
        expires_at: new Date(LATER),
        created_at: new Date(NOW),
        last_validated: null,
        last_check: { at: new Date(NOW), verdict: "valid", reason: null },
      },
    });
  });

  it("has fields of its own that one of another key does not", async () => {
    const { store, keys } = storeOfTest();
    await store.insert(
      newRecord(ALICE, { key: keyOf(KEY), sealed: "eyJ0eXAi.sealed...", origin: "manual", now: NOW }),
      patient,
    );
    const document = await keys.findOne({});
    expect(Object.keys(document ?? {})).not.toContain("limit");
    expect(document?.["previous"]).toBeNull();
  });

  it("says nothing about a key that a program wrote over it which knows no terms", async () => {
    const { store, keys } = storeOfTest();
    await store.insert(MADE, patient);
    // As a keyctl of before: everything it knows of, and nothing else.
    await keys.updateOne({}, { $set: { key_encrypted: "eyJ0eXAi.other...", generation: 0, settled: true } });
    expect(await store.find(ALICE, patient)).toMatchObject({ ...NO_TERMS, generation: 0, previous: null });
    // As the Python program.
    await store.remove(ALICE, { ...MADE, keyEncrypted: "eyJ0eXAi.other..." }, patient);
    await store.insert(MADE, patient);
    await keys.updateOne({}, { $set: { key_encrypted: KEY, key_hash: "c".repeat(64) } });
    expect(await store.find(ALICE, patient)).toMatchObject({
      ...NO_TERMS,
      generation: 0,
      settled: true,
      previous: null,
    });
  });

  it("is read whatever the types are that another program wrote", async () => {
    const { store, keys } = storeOfTest();
    await store.insert(MADE, patient);
    await keys.updateOne({}, { $set: { limit: "5", limit_reset: "hourly", expires_at: LATER, name: 7, previous: {} } });
    expect(await store.find(ALICE, patient)).toMatchObject({
      limit: null,
      limitReset: null,
      expiresAt: LATER,
      name: null,
      previous: { revoke: false, generation: 0, keyEncrypted: null, origin: "unknown" },
    });
  });
});
