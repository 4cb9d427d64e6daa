import * as fc from "fast-check";
import { Long, ObjectId } from "mongodb";
import { describe, expect, it, onTestFinished } from "vitest";
import { isOfNoUser, PROVIDER } from "../../../src/core/model/key-record.ts";
import { findKey } from "../../../src/core/protocol/find-key.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { fromDocument, userForms, userIdOf } from "../../../src/stores/mongo/document.ts";
import { namesOneOf, unchangedFilter } from "../../../src/stores/mongo/filters.ts";
import { mongoStore } from "../../../src/stores/mongo/store.ts";
import { emptyHome } from "../../support/home/home.ts";
import { jwkSet, newJwk } from "../../support/fixtures/jwk.ts";
import { KEY, OTHER, USER } from "../../support/fixtures/keys.ts";
import { databaseOfTest, describeWithMongodb } from "../../support/mongodb/of-test.ts";
import { documentsOf, errorOf, inProcess } from "../../support/programs/in-process.ts";

const patient = new AbortController().signal;
const VIP = parseUserId("vip");

/** As only other programs write them: a value that is no single user's id, or no single provider. */
const ODD: readonly (readonly [string, object])[] = [
  ["a list that holds the user", { user_id: ["x", "vip"] }],
  ["a list of the user alone", { user_id: ["vip"] }],
  ["a document", { user_id: { id: "vip" } }],
  ["null", { user_id: null }],
  ["nothing", {}],
  ["a fraction", { user_id: 1.5 }],
  ["a number that is too large", { user_id: Long.fromString("9007199254740993") }],
  ["a date", { user_id: new Date(0) }],
  ["a truth value", { user_id: true }],
  ["hex in mixed case", { user_id: "68E228e87f803a11a4e23045" }],
  ["a list of providers", { user_id: "vip", provider: [PROVIDER, "another"] }],
];

async function databaseWith(...documents: readonly object[]) {
  const { uri, db } = databaseOfTest();
  const keys = db.collection("api_keys");
  await keys.insertMany(documents.map((document) => ({ provider: PROVIDER, key_encrypted: KEY, ...document })));
  const home = emptyHome();
  const env = { KEYCTL_STORE: uri, KEYCTL_MASTER_KEYS: jwkSet(newJwk()), KEYCTL_ALLOW_NON_ATOMIC_STORE: "1" };
  const run = (words: string, ...more: readonly string[]) =>
    inProcess(home, [...words.split(" "), ...more, "--json"], { env, input: OTHER });
  return { keys, home, run, uri };
}

describeWithMongodb("a row whose user id is no single value", () => {
  it.each(ODD)("is unreadable, listed as such, and never touched: %s", async (_, document) => {
    const { run, keys } = await databaseWith(document);
    const before = await keys.find({}).toArray();
    const error: object = expect.objectContaining({
      code: "ROW_UNREADABLE",
      message: expect.stringMatching(/in a form that keyctl does not read$/),
    });

    const [listed] = documentsOf(await run("list"));
    expect(listed).toMatchObject({ key: null, key_hash: null, encrypted: false, error });
    // Neither by a user in it, nor by the id that list shows, nor with all users.
    for (const user of ["vip", USER, "null", "true", "undefined", "1.5", String(listed?.["user_id"])]) {
      expect(documentsOf(await run("purge", "--yes", "--user", user))[0]).not.toMatchObject({ purged: true });
    }
    await run("purge --all --yes --expect 1");
    await run("validate --all --timeout 2s");
    expect(documentsOf(await run("rekey --keep-key"))).toContainEqual(expect.objectContaining({ error }));
    expect(await keys.find({}).toArray()).toEqual(before);
  });

  it.each([["a list that holds the user"], ["a list of the user alone"], ["a list of providers"]])(
    "stands in the way of the user whom it names, and nothing is saved or created beside it: %s",
    async (name) => {
      const { run, keys, home } = await databaseWith(new Map(ODD).get(name) ?? {});
      home.writeKeyFile(OTHER);
      for (const words of [
        "get -u vip",
        "sync -u vip",
        "sync -u vip -u vip2",
        "purge -u vip --yes",
        "explain -u vip",
      ]) {
        const ended = await run(words);
        expect(ended.stdout, words).toContain("ROW_UNREADABLE");
        expect(ended.stdout + ended.stderr, words).not.toContain(KEY);
      }
      expect(errorOf(await run("save -u vip --stdin --replace"))).toMatchObject({ code: "ROW_UNREADABLE" });
      expect(await keys.countDocuments({ user_id: "vip2" })).toBe(1);
      expect(await keys.countDocuments({})).toBe(2);
    },
  );

  it("does not stand in the way of a user who has a row of their own", async () => {
    const { run, keys } = await databaseWith({ user_id: ["x", "vip"] }, { user_id: "vip" });
    expect(documentsOf(await run("sync -u vip"))[0]).toMatchObject({ source: "database", error: null });
    expect(documentsOf(await run("purge -u vip --yes"))[0]).toMatchObject({ purged: true });
    expect(await keys.find({}).toArray()).toMatchObject([{ user_id: ["x", "vip"] }]);
  });

  it("is a line of its own in a run over all users, who are not held up by it", async () => {
    const { run, keys } = await databaseWith({ user_id: ["x", "vip"] }, { user_id: "alice" }, { user_id: null });
    const ended = await run("sync --all --provision --max-keys 5");
    const lines = documentsOf(ended);
    expect(lines.filter(({ type }) => type === "user")).toMatchObject([
      { user_id: "bson:null", error: { code: "ROW_UNREADABLE" } },
      { user_id: 'bson:["x","vip"]', error: { code: "ROW_UNREADABLE" } },
      { user_id: "alice", source: "database", error: null },
    ]);
    expect(await keys.countDocuments()).toBe(3);
  });

  it("is not copied", async () => {
    const { run } = await databaseWith({ user_id: ["x", "vip"] }, { user_id: "alice" });
    const ended = await run("copy --create --to sqlite:copy.db");
    expect(documentsOf(ended)).toContainEqual(
      expect.objectContaining({
        user_id: 'bson:["x","vip"]',
        error: expect.objectContaining({ code: "ROW_UNREADABLE" }),
      }),
    );
  });

  it("makes a change lose that it came before", async () => {
    const { uri, keys } = await databaseWith({ _id: "row-1", user_id: "vip", revision: 1 });
    const store = mongoStore({ uri, name: uri, from: "--store", allowNonAtomic: true });
    onTestFinished(() => store.close());
    const seen = await findKey(store, VIP, patient);
    if (seen === undefined) throw new Error("the row is not found");
    await keys.updateOne({}, { $set: { user_id: ["x", "vip"] } });
    const before = await keys.find({}).toArray();
    expect(await store.replace({ ...seen, revision: 2 }, seen, patient)).toBe(false);
    expect(await store.remove(VIP, seen, patient)).toBe(false);
    const check = { at: "2026-11-22T00:00:00.000Z", verdict: "invalid", reason: "deleted" } as const;
    expect(await store.recordCheck(seen, check, patient)).toBe(false);
    expect(await keys.find({}).toArray()).toEqual(before);
  });
});

describeWithMongodb("a record of another program beside the keys", () => {
  it.each([new ObjectId(USER), 7, { a: 1 }])("is left alone, whatever its _id: %j", async (_id) => {
    const { uri, db } = databaseOfTest();
    const [meta, journal] = [db.collection("api_key_meta"), db.collection("api_key_journal")];
    await meta.insertOne({ _id: _id as ObjectId, value: "theirs" });
    await journal.insertOne({ _id: _id as ObjectId, kind: ["op", "out"], at: new Date(), hash: ["x"] });
    const home = emptyHome();
    home.writeKeyFile(KEY);
    const env = { KEYCTL_STORE: uri, KEYCTL_MASTER_KEYS: jwkSet(newJwk()) };
    for (const words of [
      ["sync", "-u", "alice"],
      ["list"],
      ["get", "-u", "alice"],
      ["purge", "-u", "alice", "--yes"],
    ]) {
      expect(await inProcess(home, words, { env })).toMatchObject({ code: 0 });
    }
    expect(await meta.findOne({ _id: _id as ObjectId })).toMatchObject({ value: "theirs" });
  });
});

describe("a document's user id", () => {
  const scalar = fc.oneof(
    fc.string(),
    fc.constantFrom(USER, USER.toUpperCase(), "68E228e87f803a11a4e23045", "42", "-0", "1.5"),
    fc.integer(),
    fc.double(),
    fc.constantFrom(null, undefined, true, new Date(0), Long.fromString("9007199254740993"), new ObjectId(USER)),
  );
  const value = fc.oneof(scalar, fc.array(scalar), fc.dictionary(fc.string(), scalar));

  it("is readable if, and only if, the row is found and changed under the id by which it is shown", () => {
    fc.assert(
      fc.property(value, (id) => {
        const isFound = userForms(userIdOf(id)).some((form) =>
          form instanceof ObjectId ? id instanceof ObjectId && form.equals(id) : form === id,
        );
        const row = fromDocument({ _id: "1", user_id: id, provider: PROVIDER, key_encrypted: KEY });
        expect(isOfNoUser(row)).toBe(!isFound);
      }),
    );
  });

  it("may stand in a list for a look, and never for a change", () => {
    expect(namesOneOf([VIP])).toEqual({ user_id: { $in: ["vip"] } });
    const seen = { id: "1", revision: 1, keyEncrypted: KEY };
    expect(unchangedFilter(VIP, seen)["user_id"]).toEqual({ $in: ["vip"], $not: { $type: "array" } });
  });
});
