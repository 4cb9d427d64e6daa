import { describe, expect, it } from "vitest";
import type { Document } from "mongodb";
import { newRecord } from "../../src/core/model/key-record.ts";
import { ApiKey } from "../../src/core/model/api-key.ts";
import { parseUserId } from "../../src/core/model/user-id.ts";
import { mongoStore } from "../../src/stores/mongo/store.ts";
import { errorOf, inProcess } from "../support/programs/in-process.ts";
import type { Home } from "../support/home/home.ts";
import { KEY, OTHER } from "../support/fixtures/keys.ts";
import { homeOn } from "../support/mongodb/run.ts";
import { databaseOfTest, describeWithMongodb } from "../support/mongodb/of-test.ts";
import { concernFailure, firstBatch, mongodbStub } from "../support/mongodb/stub.ts";
import { tcpProxy } from "../support/mongodb/tcp-proxy.ts";
import type { Action } from "../support/mongodb/tcp-proxy.ts";

/** LANDED: the change reaches the server, but its answer is lost. LOST: the change never reaches the server. */
const LANDED: readonly Action[] = ["cut-answer", "half-close", "lose-answer"];
const LOST: readonly Action[] = ["cut", "swallow"];

interface Change {
  readonly args: readonly string[];
  /** The command of the change in MongoDB's protocol. */
  readonly command: string;
  readonly before: readonly string[];
  readonly after: readonly string[];
  readonly sentence: string;
}

const CHANGES: Readonly<Record<string, Change>> = {
  sync: {
    args: ["sync", "-u", "alice"],
    command: "insert",
    before: [],
    after: ["alice"],
    sentence: "the key of user alice was written; it may still be applied",
  },
  "sync of two": {
    args: ["sync", "-u", "alice", "-u", "bob"],
    command: "insert",
    before: [],
    after: ["alice", "bob"],
    sentence: "the keys of user alice and 1 more were written; they may still be applied",
  },
  save: {
    args: ["save", "-u", "alice", "--stdin"],
    command: "insert",
    before: [],
    after: ["alice"],
    sentence: "the key of user alice was written; it may still be applied",
  },
  "save over a key": {
    args: ["save", "-u", "alice", "--stdin", "--replace"],
    command: "update",
    before: ["alice"],
    after: ["alice"],
    sentence: "the key of user alice was written; it may still be applied",
  },
  purge: {
    args: ["purge", "-u", "alice", "--yes"],
    command: "delete",
    before: ["alice"],
    after: [],
    sentence: "the key of user alice was removed; it may still be deleted",
  },
};

const rows = (actions: readonly Action[]) =>
  Object.keys(CHANGES).flatMap((name) => actions.map((action) => [name, action] as const));

describeWithMongodb("a change whose answer the network loses", () => {
  it.each(rows(LANDED))("is reported as done when it has landed, and sent once: %s, %s", async (name, action) => {
    const { change, home, changes, users, tails } = await over(name, action);

    const run = await inProcess(home, [...change.args, "--timeout", "3s", "--json"], { input: KEY });

    expect({ code: run.code, error: errorOf(run) }).toEqual({ code: 0, error: null });
    expect(changes()).toBe(1);
    expect(await users()).toEqual(change.after);
    expect(await tails()).toEqual(change.after.map(() => "b465"));
  });

  it.each(rows(LOST))("is said to be open when it has not, and sent once: %s, %s", async (name, action) => {
    const { change, home, changes, users, tails } = await over(name, action);

    const run = await inProcess(home, [...change.args, "--timeout", "3s", "--json"], { input: KEY });

    expect(run.code).toBe(7);
    expect(errorOf(run)).toMatchObject({
      code: "STORE_UNAVAILABLE",
      message: `the database did not say whether ${change.sentence}`,
      retryable: true,
    });
    expect(changes()).toBe(1);
    expect(await users()).toEqual(change.before);
    expect(await tails()).toEqual(change.before.map(() => "91aa"));
  });

  it("says of what was certainly never sent nothing of the kind", async () => {
    const { uri } = databaseOfTest();
    const proxy = await tcpProxy(uri);
    const place = { uri: proxy.uri, name: "mongodb://test/keys", from: "KEYCTL_STORE", allowNonAtomic: false };
    const store = mongoStore(place, 2_000);
    const { signal } = new AbortController();
    expect(await store.insert(rowOf("alice"), signal)).toBe(true);

    proxy.refuse();
    proxy.cut();
    await new Promise((resolve) => setTimeout(resolve, 100));
    const failure = await store.insert(rowOf("bob"), signal).catch((thrown: unknown) => thrown);
    await store.close();

    expect(failure).toMatchObject({ code: "STORE_UNAVAILABLE", mayHaveHappened: false });
    expect(failure).toHaveProperty("message", "the database mongodb://test/keys refused the connection");
  });
});

describe("an insert that the server has done and cannot promise", () => {
  const settled = { ...concernFailure(64, "WriteConcernFailed"), nModified: undefined };

  it.each([
    [true, 0, null],
    [false, 7, "STORE_UNAVAILABLE"],
  ])("is settled by reading what stays: %s", async (stays, code, error) => {
    const kept: Document[] = [];
    let inserts = 0;
    const stub = await mongodbStub({
      insert: ({ document }) => {
        const { documents } = document as { documents: readonly Document[] };
        if (document["insert"] !== "api_keys") return { ok: 1, n: documents.length };
        inserts += 1;
        if (stays) kept.push(...documents);
        return settled;
      },
      find: ({ document }) => firstBatch(document["find"] === "api_keys" ? kept : []),
    });
    const home = homeOn(stub.uri);
    home.writeKeyFile(KEY);

    const run = await inProcess(home, ["sync", "-u", "alice", "--json"]);

    expect({ code: run.code, error: errorOf(run)?.code ?? null, inserts }).toEqual({ code, error, inserts: 1 });
  });
});

/** A database that is ready for the change, behind a proxy that applies this action to the change. */
async function over(name: string, action: Action) {
  const change = CHANGES[name];
  if (change === undefined) throw new Error("there is no such change");
  const { uri, db } = databaseOfTest();
  const direct = onKeys(uri);
  for (const user of change.before) {
    expect(await inProcess(direct, ["save", "-u", user, "--stdin"], { input: OTHER })).toMatchObject({ code: 0 });
  }
  const proxy = await tcpProxy(uri);
  let changes = 0;
  proxy.behave(({ name: command, document }) => {
    if (command !== change.command || document[command] !== "api_keys") return "pass";
    changes += 1;
    return action;
  });
  const stored = async () => db.collection("api_keys").find().sort({ user_id: 1 }).toArray();
  return {
    change,
    home: onKeys(proxy.uri),
    changes: () => changes,
    users: async () => (await stored()).map((row) => String(row["user_id"])),
    tails: async () => (await stored()).map((row) => String(row["key_tail"])),
  };
}

function onKeys(uri: string): Home {
  const home = homeOn(uri);
  home.writeKeyFile(KEY);
  return { ...home, environment: { ...home.environment, KEYCTL_ALLOW_NON_ATOMIC_STORE: "1" } };
}

function rowOf(user: string) {
  const key = ApiKey.parse(KEY);
  if (key === undefined) throw new Error("this is not a key");
  return newRecord(parseUserId(user), { key, sealed: "sealed", origin: "manual", now: new Date().toISOString() });
}
