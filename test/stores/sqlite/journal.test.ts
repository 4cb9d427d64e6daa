import { createHash } from "node:crypto";
import { expect, it, onTestFinished } from "vitest";
import type { Journal, Operation, Recorded } from "../../../src/core/ports/journal.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { sqliteJournal } from "../../../src/stores/sqlite/journal.ts";
import { sqliteStore } from "../../../src/stores/sqlite/store.ts";
import { emptyHome } from "../../support/home/home.ts";
import { opened } from "../../support/sqlite/sqlite.ts";

const patient = new AbortController().signal;
const ALICE = parseUserId("alice");
const ID = `${createHash("sha256").update("alice").digest("hex")}:openrouter:op:00000001`;
const OPERATION: Recorded<Operation> = {
  kind: "op",
  n: 1,
  userId: ALICE,
  at: "2026-11-22T00:00:00.000Z",
  nonce: "77d0c1b2a3948576",
  label: null,
  limit: 5,
  limitReset: null,
  expiresAt: null,
  workspace: null,
  deliberate: false,
};

async function journalOfTest() {
  const database = await opened(emptyHome().database);
  const store = sqliteStore(database);
  onTestFinished(() => store.close());
  await store.insertEntry(OPERATION, patient);
  return { database: database.connection, file: database.file, store };
}

it("a record of the journal is a row under the id that decides, and any tool can read it", async () => {
  const { database } = await journalOfTest();
  const { body, ...row } = { ...database.prepare("SELECT _id, user_id, at, body FROM api_key_journal").get() };
  expect(row).toEqual({ _id: ID, user_id: "alice", at: OPERATION.at });
  expect(JSON.parse(String(body))).toEqual({
    nonce: "77d0c1b2a3948576",
    label: null,
    limit: 5,
    limit_reset: null,
    expires_at: null,
    workspace: null,
  });
});

it("an operation that a person asked for says so", async () => {
  const { database, store } = await journalOfTest();
  await store.insertEntry({ ...OPERATION, n: 2, deliberate: true }, patient);
  const { body } = { ...database.prepare("SELECT body FROM api_key_journal WHERE _id LIKE '%:op:00000002'").get() };
  expect(JSON.parse(String(body))).toMatchObject({ deliberate: true });
  expect(await store.entry(ALICE, "op", 2, patient)).toEqual({ ...OPERATION, n: 2, deliberate: true });
});

it("the account is a record of api_key_meta, which any tool can read", async () => {
  const { database, store } = await journalOfTest();
  await store.bindAccount({ organization: "org_1", workspaces: ["w-1"], adoptedAt: null }, patient);
  const { value } = { ...database.prepare("SELECT value FROM api_key_meta WHERE _id = 'account'").get() };
  expect(JSON.parse(String(value))).toEqual({ organization_id: "org_1", workspace_ids: ["w-1"] });
  database.exec(`UPDATE api_key_meta SET value = '{"workspace_ids":["w-2"],"newer":1}' WHERE _id = 'account'`);
  expect(await store.account(patient)).toEqual({ organization: null, workspaces: ["w-2"], adoptedAt: null });
  await store.rebindAccount({ organization: "org_2", workspaces: [], adoptedAt: OPERATION.at }, patient);
  const adopted = { ...database.prepare("SELECT value FROM api_key_meta WHERE _id = 'account'").get() };
  expect(JSON.parse(String(adopted["value"]))).toEqual({
    organization_id: "org_2",
    workspace_ids: [],
    adopted_at: OPERATION.at,
  });
});

it.each([
  "nonsense",
  "7",
  "null",
  "{}",
  '{"organization_id":null,"workspace_ids":[]}',
  '{"organization_id":5,"workspace_ids":["w-1"]}',
  '{"organization_id":"","workspace_ids":["w-1"]}',
  '{"workspace_ids":"w-1"}',
  '{"workspace_ids":[5]}',
  '{"workspace_ids":["w-1"],"adopted_at":"yesterday"}',
])("a damaged account is never taken for none, and can be written again: %s", async (value) => {
  const { database, store } = await journalOfTest();
  database.prepare("INSERT INTO api_key_meta (_id, value) VALUES ('account', ?)").run(value);
  const refusal = { code: "STORE_CORRUPT", message: "the record 'account' of api_key_meta is damaged" };
  await expect(store.account(patient)).rejects.toMatchObject(refusal);
  await store.rebindAccount({ organization: "org_1", workspaces: [], adoptedAt: null }, patient);
  expect(await store.account(patient)).toEqual({ organization: "org_1", workspaces: [], adoptedAt: null });
});

it.each([
  ["a body that is no object", "UPDATE api_key_journal SET body = '7'"],
  ["a body without what matters", "UPDATE api_key_journal SET body = '{}'"],
  ["a time that is none", "UPDATE api_key_journal SET at = 'yesterday'"],
])("a damaged record is never taken for absent: %s", async (_, damage) => {
  const { database, store } = await journalOfTest();
  database.exec(damage);
  const refusal = { code: "STORE_CORRUPT", message: `the record ${ID} of api_key_journal cannot be read` };
  await expect(store.entry(ALICE, "op", 1, patient)).rejects.toMatchObject(refusal);
  await expect(store.lastOperation(ALICE, patient)).rejects.toMatchObject(refusal);
  await expect(store.entries(ALICE, patient)).rejects.toMatchObject(refusal);
});

it.each([
  ["is missing", "DELETE FROM api_key_meta WHERE _id = 'deployment'"],
  ["is damaged", "UPDATE api_key_meta SET value = 'mine' WHERE _id = 'deployment'"],
])("the id of a database is not made up anew when it %s", async (_, damage) => {
  const { database, store } = await journalOfTest();
  database.exec(damage);
  await expect(store.deployment(patient)).rejects.toMatchObject({ code: "STORE_CORRUPT" });
});

it("the highest operation and the outcomes of a hash are found by an index", async () => {
  const { database } = await journalOfTest();
  const plan = (sql: string, ...values: (string | number)[]) =>
    database
      .prepare(`EXPLAIN QUERY PLAN ${sql}`)
      .all(...values)
      .map(({ detail }) => String(detail))
      .join("; ");
  const inRange = "SELECT * FROM api_key_journal WHERE _id >= ? AND _id < ? ORDER BY _id DESC LIMIT 1";
  expect(plan(inRange, "a", "b")).toBe("SEARCH api_key_journal USING PRIMARY KEY (_id>? AND _id<?)");
  for (const column of ["hash", "upstream_hash"]) {
    const byHash = `SELECT * FROM api_key_journal WHERE ${column} IN (SELECT value FROM json_each(?))`;
    expect(plan(byHash, "[]")).toContain(`USING INDEX api_key_journal_${column} (${column}=?)`);
  }
});

/** How SQLite finds the rows of the only statement that a call prepares. */
async function planOf(call: (port: Journal) => Promise<unknown>, values: readonly (string | number)[]) {
  const { database, file } = await journalOfTest();
  const asked: string[] = [];
  const heard = new Proxy(database, {
    get: (target, name) =>
      name === "prepare" ? (sql: string) => (asked.push(sql), target.prepare(sql)) : Reflect.get(target, name),
  });
  await call(sqliteJournal(heard, file).port);
  const [sql = ""] = asked;
  return database
    .prepare(`EXPLAIN QUERY PLAN ${sql}`)
    .all(...values)
    .map(({ detail }) => detail);
}

it("the operations of an hour that count are found by an index, and by no other entry's", async () => {
  const { at } = OPERATION;
  const call = async (port: Journal) => expect(await port.liveOperations([at, at], 9, patient)).toHaveLength(1);
  expect(await planOf(call, [at, at, 9])).toEqual([
    "SEARCH op USING INDEX api_key_journal_counted (at>? AND at<?)",
    "SEARCH out USING PRIMARY KEY (_id=?) LEFT-JOIN",
  ]);
});

it("what is due is found by an index, in its order", async () => {
  const call = async (port: Journal) => {
    for await (const _ of port.retirements(["", OPERATION.at], () => patient)) throw new Error("nothing is due");
  };
  expect(await planOf(call, ["", "", OPERATION.at])).toEqual([
    "SEARCH api_key_journal USING INDEX api_key_journal_retire_at (<expr>>? AND <expr><?)",
    "CORRELATED SCALAR SUBQUERY 1",
    "SEARCH gone USING PRIMARY KEY (_id=?)",
  ]);
});
