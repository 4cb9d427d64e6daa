import { Binary, Double, Long, ObjectId } from "mongodb";
import type { Document } from "mongodb";
import { expect, it } from "vitest";
import { PROVIDER } from "../../../src/core/model/key-record.ts";
import { findKey } from "../../../src/core/protocol/find-key.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { mongoStore } from "../../../src/stores/mongo/store.ts";
import { emptyHome } from "../../support/home/home.ts";
import { documentsOf, errorOf, inProcess } from "../../support/programs/in-process.ts";
import { hashOf, KEY, maskOf, OTHER, USER } from "../../support/fixtures/keys.ts";
import { jwkSet, newJwk } from "../../support/fixtures/jwk.ts";
import { databaseOfTest, describeWithMongodb } from "../../support/mongodb/of-test.ts";

/** As the Python program writes it: the key in clear, and a field of its own. */
const OLD = {
  key_encrypted: KEY,
  source: "manual",
  provider: PROVIDER,
  created_at: new Date("2025-10-05T09:00:00Z"),
  updated_at: new Date("2025-10-05T09:30:00Z"),
  last_validated: new Date("2025-10-05T09:30:00Z"),
  notes: "kept",
};
const { provider: _, ...WITHOUT_PROVIDER } = OLD;

async function databaseWith(...documents: readonly Document[]) {
  const { uri, db } = databaseOfTest();
  const keys = db.collection("api_keys");
  if (documents.length > 0) await keys.insertMany([...documents]);
  const home = emptyHome();
  const env = {
    KEYCTL_STORE: uri,
    KEYCTL_MASTER_KEYS: jwkSet(newJwk()),
    // FerretDB's changes are not atomic, and nobody else is here.
    KEYCTL_ALLOW_NON_ATOMIC_STORE: "1",
  };
  return {
    uri,
    db,
    keys,
    home,
    /** The tool with --json. */
    run: (words: readonly string[], input = "") => inProcess(home, [...words, "--json"], { env, input }),
    people: (words: readonly string[]) => inProcess(home, words, { env }),
  };
}

describeWithMongodb("a document that the Python program wrote", () => {
  it.each<readonly [string, Document]>([
    ["under an ObjectId", { ...OLD, user_id: new ObjectId(USER) }],
    ["under a text of 24 characters", { ...OLD, user_id: USER }],
    ["under such a text in capitals", { ...OLD, user_id: USER.toUpperCase() }],
    ["without a provider", { ...WITHOUT_PROVIDER, user_id: new ObjectId(USER) }],
    ["with a provider that is null", { ...OLD, provider: null, user_id: USER }],
    ["with an _id that is text", { ...OLD, _id: "row-1", user_id: USER }],
    ["with an _id that looks like our own text of one", { ...OLD, _id: "bson:7", user_id: USER }],
    ["with an _id that is a number", { ...OLD, _id: 7, user_id: USER }],
    ["with an _id that is a large number", { ...OLD, _id: Long.fromString("9007199254740993"), user_id: USER }],
    ["with an _id that is a fraction", { ...OLD, _id: new Double(1.5), user_id: USER }],
    ["with an _id that is bytes", { ...OLD, _id: new Binary(Buffer.from("0123456789abcdef")), user_id: USER }],
    ["with an _id that is a document", { ...OLD, _id: { tenant: "a", n: 1 }, user_id: USER }],
    ["with an _id that is a date", { ...OLD, _id: new Date(0), user_id: USER }],
    [
      "with dates that are text",
      { ...OLD, created_at: "2025-10-05T09:00:00Z", updated_at: "yesterday", user_id: USER },
    ],
    ["with a revision that is text", { ...OLD, revision: "v1", user_id: USER }],
    ["with a revision that is negative", { ...OLD, revision: -1, user_id: USER }],
    ["with the least that it can have", { user_id: USER, key_encrypted: KEY }],
  ])("%s is found, saved over and purged", async (_name, document) => {
    const { run, keys } = await databaseWith(document);
    const before = await keys.findOne({});

    const synced = documentsOf(await run(["sync", "--user", USER]))[0];
    expect(synced).toMatchObject({ key: maskOf(KEY), key_hash: hashOf(KEY), source: "database", error: null });
    expect(await keys.findOne({})).toEqual(before);
    expect(documentsOf(await run(["list"]))).toMatchObject([
      {
        user_id: USER,
        key: maskOf(KEY),
        key_hash: hashOf(KEY),
        encrypted: false,
        generation: 0,
        settled: true,
        error: null,
      },
    ]);

    const saved = await run(["save", "--user", USER, "--stdin", "--replace"], OTHER);
    expect(documentsOf(saved)[0]).toMatchObject({
      changed: true,
      previous: { key: maskOf(KEY), key_hash: hashOf(KEY) },
    });
    const after = await keys.findOne({});
    expect(after).toMatchObject({
      _id: before?.["_id"],
      user_id: before?.["user_id"],
      key_hash: hashOf(OTHER),
      revision: 1,
    });
    expect(after?.["notes"]).toBe(before?.["notes"]);
    expect(JSON.stringify(after)).not.toContain(KEY);
    expect(await keys.countDocuments()).toBe(1);

    expect(documentsOf(await run(["purge", "--user", USER, "--yes"]))[0]).toMatchObject({ purged: true });
    expect(await keys.countDocuments()).toBe(0);
  });

  it("about a key that it renewed itself says so in the list, until another key takes its place", async () => {
    const renewed = { auto_renewed: true, last_renewal_at: new Date("2025-10-05T09:20:00Z") };
    const { run, keys } = await databaseWith({ ...OLD, ...renewed, user_id: new ObjectId(USER) });
    expect(documentsOf(await run(["list"]))).toMatchObject([
      { user_id: USER, auto_renewed: true, last_renewal_at: "2025-10-05T09:20:00.000Z" },
    ]);
    await run(["rekey"]);
    expect(await keys.findOne({})).toMatchObject(renewed);
    await run(["save", "--user", USER, "--stdin", "--replace"], OTHER);
    expect(documentsOf(await run(["list"]))).toMatchObject([{ auto_renewed: false, last_renewal_at: null }]);
  });

  it("under a number is that user's, also in a bulk run, and gets no second row", async () => {
    const { run, home, keys } = await databaseWith({ ...OLD, user_id: 42 });
    home.writeKeyFile(OTHER);
    expect(documentsOf(await run(["sync", "--user", "42"]))[0]).toMatchObject({ key: maskOf(KEY), source: "database" });
    const ended = await run(["sync", "--users-file", "-"], "42\nalice\n");
    expect(documentsOf(ended)[0]).toMatchObject({ user_id: "42", key: maskOf(KEY), source: "database" });
    expect(await keys.countDocuments()).toBe(2);
    expect(documentsOf(await run(["purge", "--user", "42", "--yes"]))[0]).toMatchObject({ purged: true });
  });

  it("stays in clear when the same key is saved again", async () => {
    const { run, keys } = await databaseWith({ ...OLD, user_id: USER });
    const saved = await run(["save", "--user", USER, "--stdin"], KEY);
    expect(documentsOf(saved)[0]).toMatchObject({ changed: false, error: null });
    expect(await keys.findOne({})).toMatchObject({ key_encrypted: KEY });
  });

  it("with dates that are text without a zone means UTC, wherever this machine is", async () => {
    const { run } = await databaseWith({ ...OLD, user_id: USER, created_at: "2025-10-05T09:00:00.123456" });
    const zone = process.env["TZ"];
    try {
      process.env["TZ"] = "America/New_York";
      const listed = documentsOf(await run(["list"]));
      expect(listed[0]).toMatchObject({ created_at: "2025-10-05T09:00:00.123Z" });
    } finally {
      if (zone === undefined) delete process.env["TZ"];
      else process.env["TZ"] = zone;
    }
  });

  it("is counted as stored in plain text by list", async () => {
    const { people } = await databaseWith({ ...OLD, user_id: "alice" }, { ...OLD, user_id: "bob" });
    expect((await people(["list"])).stderr).toContain("2 keys are stored in plain text; keyctl rekey encrypts them");
  });

  it("is found by the hash of its key, which it does not have", async () => {
    const { run } = await databaseWith(
      { ...OLD, user_id: "alice" },
      { ...OLD, user_id: "bob", key_encrypted: OTHER, key_hash: hashOf(KEY) },
      { ...OLD, user_id: "carol", key_encrypted: OTHER },
    );
    const found = documentsOf(await run(["list", "--hash", hashOf(KEY)]));
    expect(found.map(({ user_id }) => user_id)).toEqual(["alice"]);
  });

  it("of another provider is nobody's key here", async () => {
    const { run, keys } = await databaseWith({ ...OLD, user_id: "alice", provider: "anthropic" });
    expect(errorOf(await run(["get", "--user", "alice", "--stored"]))).toMatchObject({ code: "NO_KEY" });
    expect(documentsOf(await run(["list", "--count"]))[0]).toMatchObject({ count: 0 });
    await run(["save", "--user", "alice", "--stdin"], KEY);
    expect(await keys.countDocuments({ user_id: "alice" })).toBe(2);
  });

  it.each([
    ["a word", "not a key"],
    ["a number", 42],
    ["nothing", null],
    ["an object that holds a key", { key: KEY }],
  ])("that holds %s in place of its key is unreadable, and the file is not used", async (_name, value) => {
    const { run, home, keys } = await databaseWith({ ...OLD, user_id: "alice", key_encrypted: value });
    home.writeKeyFile(OTHER);
    const run1 = await run(["sync", "--user", "alice"]);
    expect(errorOf(run1)).toMatchObject({ code: "ROW_UNREADABLE", exit_code: 7 });
    expect(run1.stdout + run1.stderr).not.toContain(KEY);
    expect(documentsOf(await run(["list"]))[0]).toMatchObject({ key: null, error: { code: "ROW_UNREADABLE" } });
    expect(documentsOf(await run(["purge", "--user", "alice", "--yes"]))[0]).toMatchObject({ purged: true });
    expect(await keys.countDocuments()).toBe(0);
  });

  it("without the field of its key is unreadable and can be purged", async () => {
    const { run } = await databaseWith({ user_id: "alice", provider: PROVIDER });
    expect(errorOf(await run(["get", "--user", "alice"]))).toMatchObject({ code: "ROW_UNREADABLE" });
    expect(documentsOf(await run(["purge", "--user", "alice", "--yes"]))[0]).toMatchObject({ purged: true });
  });
});

describeWithMongodb("a user with two rows", () => {
  const both = [
    { ...OLD, user_id: new ObjectId(USER) },
    { ...OLD, user_id: USER, key_encrypted: OTHER },
  ];

  it.each(["sync", "get", "purge --yes", "save --stdin --replace"])(
    "is a conflict for %s, and nothing changes",
    async (words) => {
      const { run, keys } = await databaseWith(...both);
      const before = await keys.find({}).toArray();
      const [verb = "", ...flags] = words.split(" ");
      const ended = await run([verb, "--user", USER, ...flags], OTHER);
      expect(errorOf(ended)).toMatchObject({ code: "CONFLICT", exit_code: 8 });
      expect(errorOf(ended)?.message).toContain(String(before[0]?.["_id"]));
      expect(await keys.find({}).toArray()).toEqual(before);
    },
  );

  it("is that user's error in a bulk run, and nobody else's", async () => {
    const { run } = await databaseWith(...both, { ...OLD, user_id: "alice" }, { ...OLD, user_id: "bob" });
    const ended = await run(["get", "--stored", "--users-file", "-"], `alice\n${USER}\nbob\n`);
    expect(documentsOf(ended)).toMatchObject([
      { user_id: "alice", error: null },
      { user_id: USER, key: null, error: { code: "CONFLICT" } },
      { user_id: "bob", error: null },
      { type: "summary", error: { code: "SOME_FAILED" } },
    ]);
  });

  it("is shown twice by list", async () => {
    const { run } = await databaseWith(...both);
    expect(documentsOf(await run(["list"]))).toMatchObject([{ user_id: USER }, { user_id: USER }]);
  });

  it("of the same form is an error that names both when the index cannot be made, and nothing is inserted", async () => {
    const twins = ["row-1", "row-2"].map((_id) => ({ ...OLD, _id, user_id: "alice" }));
    const { run, keys } = await databaseWith(...twins);
    const ended = await run(["save", "--user", "bob", "--stdin"], KEY);
    expect(errorOf(ended)).toMatchObject({ code: "STORE_CORRUPT", exit_code: 7 });
    expect(errorOf(ended)?.message).toMatch(/alice.*row-1.*row-2/);
    expect(await keys.countDocuments()).toBe(2);
  });
});

describeWithMongodb("an index that contradicts ours", () => {
  it("is named, and nothing is inserted", async () => {
    const { run, keys } = await databaseWith({ ...OLD, user_id: "alice" });
    await keys.createIndex({ user_id: 1, provider: 1 }, { name: "somebody_else" });
    const ended = await run(["save", "--user", "bob", "--stdin"], KEY);
    expect(errorOf(ended)).toMatchObject({ code: "STORE_CORRUPT", exit_code: 7 });
    expect(errorOf(ended)?.message).toContain("somebody_else");
    expect(await keys.countDocuments()).toBe(1);
  });
});

describeWithMongodb("a bulk sync over an old database", () => {
  it("gives no second row to users whom the unique index does not hold apart", async () => {
    const { run, home, keys } = await databaseWith(
      { ...OLD, user_id: USER },
      { ...WITHOUT_PROVIDER, user_id: "alice" },
      { ...OLD, user_id: "bob" },
    );
    home.writeKeyFile(OTHER);
    const ended = await run(["sync", "--users-file", "-"], `${USER}\nalice\nbob\ncarol\n`);
    expect(documentsOf(ended)).toMatchObject([
      { user_id: USER, key: maskOf(KEY), source: "database" },
      { user_id: "alice", key: maskOf(KEY), source: "database" },
      { user_id: "bob", key: maskOf(KEY), source: "database" },
      { user_id: "carol", key: maskOf(OTHER), source: "key.txt" },
      { type: "summary", done: 4 },
    ]);
    expect(await keys.countDocuments()).toBe(4);
  });
});

describeWithMongodb("a change that the old program makes between our read and our write", () => {
  const patient = new AbortController().signal;
  const alice = parseUserId("alice");

  it.each(["replace", "remove"] as const)("makes our %s lose", async (change) => {
    const { uri, keys } = await databaseWith({ ...OLD, user_id: "alice", revision: 3, key_hash: hashOf(KEY) });
    const store = mongoStore({ uri, name: "mongodb://test/keys", from: "KEYCTL_STORE", allowNonAtomic: false });
    const seen = await findKey(store, alice, patient);
    if (seen === undefined) throw new Error("the row is not found");
    await keys.updateOne({ user_id: "alice" }, { $set: { key_encrypted: OTHER, last_validated: new Date() } });
    const written = await keys.findOne({});

    const won =
      change === "replace"
        ? store.replace({ ...seen, revision: 4 }, seen, patient)
        : store.remove(alice, seen, patient);
    expect(await won).toBe(false);
    expect(await keys.findOne({})).toEqual(written);
    // What was noted about the key before says nothing about this one.
    expect(
      await store.recordCheck(seen, { at: "2026-11-22T00:00:00.000Z", verdict: "invalid", reason: "deleted" }, patient),
    ).toBe(true);
    await store.close();
  });

  it("leaves a key that is told by itself, not by what stands beside it", async () => {
    const checked = { at: new Date(), verdict: "invalid", reason: "deleted" };
    const { run } = await databaseWith({
      ...OLD,
      user_id: "alice",
      key_encrypted: OTHER,
      key_hash: hashOf(KEY),
      key_tail: "b465",
      generation: 4,
      settled: false,
      last_check: checked,
    });
    expect(documentsOf(await run(["list"]))[0]).toMatchObject({
      key: maskOf(OTHER),
      key_hash: hashOf(OTHER),
      generation: 0,
      settled: true,
      verdict: null,
    });
  });
});

describeWithMongodb("a document whose expires_at is", () => {
  it.each<[string, unknown, string | null]>([
    ["a date", new Date("2099-01-01T00:00:00Z"), "2099-01-01T00:00:00.000Z"],
    ["the text of a time with its offset", "2099-01-01T02:00:00+02:00", "2099-01-01T00:00:00.000Z"],
    ["null", null, null],
    ["a date alone", "2099-01-01", "unknown"],
    ["a time without an offset", "2099-01-01T00:00:00", "unknown"],
    ["a number", 4_070_908_800, "unknown"],
    ["text", "soon", "unknown"],
  ])("%s is read as what it is, and never as 'never' where it cannot be read", async (_name, expires_at, expected) => {
    const sealed = { key_encrypted: "eyJh.b.c.d.e", key_hash: hashOf(KEY), key_tail: "b465", generation: 1 };
    const { run } = await databaseWith({ ...OLD, ...sealed, user_id: "alice", revision: 1, settled: true, expires_at });
    const [row] = documentsOf(await run(["list"]));
    expect(row).toMatchObject({
      expires_at: expected,
      warnings: expected === "unknown" ? [{ code: "EXPIRY_UNKNOWN" }] : [],
    });
    const within = documentsOf(await run(["list", "--expires-within", "1h"]));
    expect(within).toHaveLength(expected === "unknown" ? 1 : 0);
  });
});
