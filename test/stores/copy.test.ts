import { join } from "node:path";
import { Binary, Double, Long, ObjectId, UUID } from "mongodb";
import type { Document } from "mongodb";
import { expect, it } from "vitest";
import type { Ports } from "../../src/compose.ts";
import type { Recorded } from "../../src/core/ports/journal.ts";
import { parseUserId } from "../../src/core/model/user-id.ts";
import { change, rowsOf } from "../support/sqlite/database-file.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf, errorOf, inProcess } from "../support/programs/in-process.ts";
import { hashOf, KEY, keyEnding, OTHER, USER } from "../support/fixtures/keys.ts";
import {
  databaseOfTest,
  describeWithMongodb,
  describeWithOwnServer,
  serverOfTest,
} from "../support/mongodb/of-test.ts";
import { uriOf } from "../support/mongodb/server.ts";
import { withStore } from "../support/home/tool-with-openrouter.ts";
import { on, tcpProxy } from "../support/mongodb/tcp-proxy.ts";

const ODD_USERS = [USER, "alice", "68e228e87f803a11a4e2304", "zoë", "$where", "😀", "10", "9"];
const ROWS = "SELECT * FROM api_keys ORDER BY user_id";

async function homeOf(users: readonly string[]): Promise<Home> {
  const home = emptyHome();
  const env = { OPENROUTER_API_KEY: KEY };
  await inProcess(home, ["sync", "--users-file", "-"], { env, input: users.join("\n") });
  return home;
}

/** The ids of so many users. */
function many(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `user-${index}`);
}

/** The summary of a copy; its other lines are failures. */
async function copy(
  home: Home,
  env: Readonly<Record<string, string>>,
  more: { around?: (ports: Ports) => Ports } = {},
) {
  const run = await inProcess(home, ["copy", "--create", "--json"], { env, ...more });
  const documents = documentsOf(run);
  return { code: run.code, failures: documents.slice(0, -1), summary: documents.at(-1) };
}

describeWithMongodb("a copy from the embedded store to MongoDB", () => {
  it("and back has every row as it was", async () => {
    const home = await homeOf(ODD_USERS);
    change(
      home.database,
      `UPDATE api_keys SET revision = 7, generation = 2, settled = 0, last_validated = created_at,
         last_check = json_object('at', created_at, 'verdict', 'valid', 'reason', NULL) WHERE user_id < 'b';
       UPDATE api_keys SET generation = 3, limit_due = json_object('limit', 10.5, 'at', created_at),
         restrictions = json_object('guardrails', json_array('g-1'), 'byok', json_array('b-1', 'b-2')),
         auto_renewed = 1, last_renewal_at = created_at WHERE user_id = 'alice';
       UPDATE api_keys SET revision = NULL, key_hash = NULL, key_tail = NULL WHERE user_id = 'zoë';
       UPDATE api_keys SET key_encrypted = 'nonsense' WHERE user_id = '😀'`,
    );
    const { uri, db } = databaseOfTest();
    const there = await copy(home, { KEYCTL_COPY_TO: uri });
    const count = { total: 8, copied: 8, verified: 7, unverified: 1, to_total: 8, complete: true };
    expect(there.summary).toMatchObject(count);
    expect(await db.collection("api_keys").findOne({ user_id: new ObjectId(USER) })).not.toBeNull();

    const back = await copy(home, { KEYCTL_STORE: uri, KEYCTL_COPY_TO: "sqlite:back.db" });
    expect(back.summary).toMatchObject(count);
    expect(back.failures).toMatchObject([{ user_id: "😀", outcome: "unverified", error: { code: "ROW_UNREADABLE" } }]);
    expect(rowsOf(join(home.work, "back.db"), ROWS)).toEqual(rowsOf(home.database, ROWS));
  });

  it("and back has the journal as it was, under the same deployment id", async () => {
    const home = await homeOf(["alice", USER]);
    const users = [parseUserId("alice"), parseUserId(USER)];
    const at = "2026-11-22T00:00:00.123Z";
    const limits = { limit: 2.5, limitReset: "monthly" } as const;
    const terms = { label: "ann's", ...limits, expiresAt: at, workspace: null, deliberate: true };
    const entries: readonly Recorded[] = users.flatMap((userId): readonly Recorded[] => [
      { userId, at, kind: "op", n: 1, nonce: "1".repeat(16), ...terms },
      { userId, at, kind: "out", n: 1, outcome: "saved", hash: hashOf(KEY), upstreamHash: "a".repeat(64) },
      { userId, at, kind: "rev", n: 1, reason: "superseded", revoke: false, block: false },
      { userId, at, kind: "del", n: 1 },
      { userId, at, kind: "due", n: 1, retireAt: "2026-11-22T00:10:00.123Z" },
    ]);
    await withStore(home, async (store, signal) => {
      for (const entry of entries) await store.insertEntry(entry, signal);
    });
    const { uri } = databaseOfTest();
    const journals = { copied: 2, conflicts: 0, verified: 2 };
    expect((await copy(home, { KEYCTL_COPY_TO: uri })).summary).toMatchObject({ error: null, journals });
    const back = await copy(home, { KEYCTL_STORE: uri, KEYCTL_COPY_TO: "sqlite:back.db" });
    expect(back.summary).toMatchObject({ error: null, journals });
    for (const query of [
      "SELECT * FROM api_key_journal ORDER BY _id",
      "SELECT * FROM api_key_meta WHERE _id = 'deployment'",
    ]) {
      expect(rowsOf(join(home.work, "back.db"), query)).toEqual(rowsOf(home.database, query));
    }
    const dry = await inProcess(home, ["copy", "--json", "--dry-run"], { env: { KEYCTL_COPY_TO: uri } });
    expect(documentsOf(dry)).toMatchObject([{ journals: { kept: 2 } }]);
  });

  it("makes the indexes and the check of the master keys, so that the tool goes on there", async () => {
    const home = await homeOf(["alice"]);
    const { uri, db } = databaseOfTest();
    await copy(home, { KEYCTL_COPY_TO: uri });
    const indexes = await db.collection("api_keys").indexes();
    expect(indexes.map(({ name }) => name)).toEqual(expect.arrayContaining(["user_id_1_provider_1", "key_hash_1"]));
    expect(await db.collection("api_key_meta").countDocuments()).toBeGreaterThanOrEqual(3);
    const get = await inProcess(home, ["get", "-u", "alice", "--stored", "--reveal"], { env: { KEYCTL_STORE: uri } });
    expect(get.stdout).toBe(`${KEY}\n`);
  });

  it("finds a user whose id another program wrote as text, and leaves that document alone", async () => {
    const home = await homeOf([USER, "alice"]);
    const { uri, db } = databaseOfTest();
    const keys = db.collection("api_keys");
    await keys.insertOne({ user_id: USER, provider: "openrouter", key_encrypted: OTHER });
    const before = await keys.findOne({ user_id: USER });
    const { code, failures, summary } = await copy(home, { KEYCTL_COPY_TO: uri });
    expect([code, summary]).toMatchObject([9, { copied: 1, conflicts: 1, verified: 1, to_total: 2 }]);
    expect(failures).toMatchObject([{ user_id: USER, outcome: "conflict", error: { code: "KEY_EXISTS" } }]);
    expect(await keys.findOne({ user_id: USER })).toEqual(before);
  });

  it("without master keys is refused, and nothing is written", async () => {
    const home = await homeOf(["alice"]);
    change(
      home.database,
      `UPDATE api_keys SET key_encrypted = '${KEY}'; DELETE FROM api_key_meta WHERE _id GLOB 'check:*'`,
    );
    const { uri, db } = databaseOfTest();
    const env = { KEYCTL_COPY_TO: uri, XDG_CONFIG_HOME: join(home.folder, "none") };
    const run = await inProcess(home, ["copy", "--create", "--json"], { env });
    expect([run.code, errorOf(run)?.code]).toEqual([4, "MASTER_KEY_MISSING"]);
    expect(await db.listCollections().toArray()).toEqual([]);
  });

  it.each(["cut-answer", "cut"] as const)("goes on after an insert: %s", async (fault) => {
    const home = await homeOf(many(1_100));
    const { uri, db } = databaseOfTest();
    // Makes what a database needs: the faults are for rows.
    await inProcess(home, ["save", "-u", "first", "--stdin", "--create"], { input: KEY, env: { KEYCTL_STORE: uri } });
    const proxy = await tcpProxy(uri);
    proxy.behave(on("insert", fault, 3));
    const first = await copy(home, { KEYCTL_COPY_TO: proxy.uri });
    if (fault === "cut") expect(first).toMatchObject({ code: 7, summary: { complete: false } });
    proxy.behave("pass");
    const { code, summary } = await copy(home, { KEYCTL_COPY_TO: proxy.uri });
    expect([code, summary]).toMatchObject([0, { total: 1_100, verified: 1_100, conflicts: 0 }]);
    expect(await db.collection("api_keys").countDocuments()).toBe(1_101);
  });
});

/** As the Python program writes it. */
const old = (user: unknown, more: Document = {}): Document => ({
  user_id: user,
  provider: "openrouter",
  key_encrypted: KEY,
  source: "manual",
  created_at: new Date("2025-10-05T09:00:00Z"),
  updated_at: new Date("2025-10-05T09:30:00Z"),
  last_validated: null,
  ...more,
});

describeWithMongodb("a copy of documents that another program wrote", () => {
  const IDS = [
    new ObjectId(),
    "row-1",
    "bson:7",
    7,
    new Double(1.5),
    Long.fromString("9007199254740993"),
    new Binary(Buffer.from("0123456789abcdef")),
    new UUID("0b0e3b1c-6f0f-4c6e-9f5a-0f6a4d3c2b1a"),
    { tenant: "a", n: 1 },
    new Date(0),
  ];

  it("into the embedded store and back has the same ids, keys and dates", async () => {
    const source = databaseOfTest();
    const documents: Document[] = [
      ...IDS.map((_id, index) => old(`user-${index}`, { _id, key_encrypted: keyEnding(`000${index}`) })),
      old(new ObjectId(USER)),
      old("68e228e87f803a11a4e23046"),
      { user_id: "least", key_encrypted: KEY },
      old("no key"),
      old("a number", { key_encrypted: 42 }),
    ];
    for (const document of documents) if (document["user_id"] === "no key") delete document["key_encrypted"];
    await source.db.collection("api_keys").insertMany(documents);
    const home = emptyHome();
    const one = await copy(home, { KEYCTL_STORE: source.uri, KEYCTL_COPY_TO: "sqlite:one.db" });
    const count = { total: 15, copied: 15, verified: 13, unverified: 2, in_clear: 0, to_total: 15 };
    expect(one.summary).toMatchObject(count);
    expect(one.failures.map(({ user_id }) => String(user_id)).toSorted()).toEqual(["a number", "no key"]);

    const target = databaseOfTest();
    const two = await copy(home, { KEYCTL_STORE: "sqlite:one.db", KEYCTL_COPY_TO: target.uri });
    expect(two.summary).toMatchObject(count);
    const idsOf = async ({ db }: typeof source) =>
      (await db.collection("api_keys").find().toArray())
        .map(({ _id, user_id }) => ({ _id, user_id: String(user_id) }))
        .toSorted((a, b) => (a.user_id < b.user_id ? -1 : 1));
    expect(await idsOf(target)).toEqual(await idsOf(source));
    const keysOf = async (store: string) => {
      const run = await inProcess(home, ["get", "--all", "--stored", "--reveal", "--json"], {
        env: { KEYCTL_STORE: store },
      });
      return documentsOf(run).map(({ user_id, key }) => [user_id, key] as const);
    };
    expect(new Map(await keysOf(target.uri))).toEqual(new Map(await keysOf(source.uri)));
    expect(await target.db.collection("api_keys").findOne({ user_id: "no key" })).not.toHaveProperty("key_encrypted");

    const again = await copy(home, { KEYCTL_STORE: source.uri, KEYCTL_COPY_TO: target.uri });
    expect(again.summary).toMatchObject({ kept: 15, conflicts: 0, verified: 13 });
    await copy(home, { KEYCTL_STORE: target.uri, KEYCTL_COPY_TO: "sqlite:two.db" });
    expect(rowsOf(join(home.work, "two.db"), ROWS)).toEqual(rowsOf(join(home.work, "one.db"), ROWS));
  });

  it("warns of fields that the copy does not have", async () => {
    const { uri, db } = databaseOfTest();
    const more = { notes: "mine", renewals: 2 };
    await db.collection("api_keys").insertMany([old("alice", more), old("bob", { notes: "too" }), old("carol")]);
    const home = emptyHome();
    const { code, summary } = await copy(home, { KEYCTL_STORE: uri, KEYCTL_COPY_TO: "sqlite:copy.db" });
    expect([code, summary?.["warnings"]]).toEqual([
      0,
      [
        {
          code: "FIELDS_LEFT",
          message:
            "2 rows have fields that keyctl does not know, and they stay without them in the copy: notes, renewals",
        },
      ],
    ]);
  });

  it("brings one of two rows of a user, and names the other unless it is the same key", async () => {
    const { uri, db } = databaseOfTest();
    const twins = [new ObjectId(USER), USER];
    const others = ["68e228e87f803a11a4e23046", "68e228e87f803a11a4e23046".toUpperCase()];
    const keys = db.collection("api_keys");
    await keys.insertMany(twins.map((user) => old(user)));
    await keys.insertMany(others.map((user, index) => old(user, { key_encrypted: keyEnding(`000${index}`) })));
    const { code, failures, summary } = await copy(emptyHome(), {
      KEYCTL_STORE: uri,
      KEYCTL_COPY_TO: "sqlite:copy.db",
    });
    expect([code, summary]).toMatchObject([9, { copied: 2, kept: 1, conflicts: 1, verified: 3, to_total: 2 }]);
    expect(failures).toMatchObject([{ user_id: others[0], outcome: "conflict" }]);
  });
});

describeWithOwnServer("a destination that is killed in the middle", () => {
  it("ends the copy with exit 7; when it is back, the copy goes on where it ended", async () => {
    const server = await serverOfTest();
    const uri = uriOf(server.uri, "keys");
    const home = await homeOf(many(2_000));
    let inserts = 0;
    const around = (ports: Ports): Ports => ({
      ...ports,
      store: {
        ...ports.store,
        async insertMany(records, signal) {
          inserts += 1;
          const inserting = ports.store.insertMany(records, signal);
          if (inserts === 3) await Promise.allSettled([inserting, server.kill()]);
          return inserting;
        },
      },
    });
    const killed = await copy(home, { KEYCTL_COPY_TO: uri }, { around });
    expect([killed.code, killed.summary]).toMatchObject([
      7,
      { complete: false, copied: 1_000, error: { code: "STORE_UNAVAILABLE", retryable: true } },
    ]);
    await server.restart();
    const resumed = await copy(home, { KEYCTL_COPY_TO: uri });
    expect([resumed.code, resumed.summary]).toMatchObject([0, { total: 2_000, conflicts: 0, verified: 2_000 }]);
    expect(resumed.summary?.["kept"]).toBeGreaterThanOrEqual(1_000);
  });
});
