import { describe, expect, it } from "vitest";
import { KeyctlError } from "../../../src/core/model/errors.ts";
import type { KeyStore } from "../../../src/core/ports/stores-and-sources.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import type { UserId } from "../../../src/core/model/user-id.ts";
import { memoryStore } from "../../support/memory/store.ts";
import {
  alice,
  sealer,
  KEY,
  OTHER,
  record,
  unreadable,
  holding,
  managerOver,
  inBatches,
  all,
} from "../../support/memory/manager-over.ts";

describe("syncMany", () => {
  const [bob, carol, dave] = ["bob", "carol", "dave"].map((id) => parseUserId(id)) as [UserId, UserId, UserId];

  it("inserts what is missing and reads the rest, in the order of the users", async () => {
    const store = memoryStore(record(bob, OTHER), unreadable(dave));
    const file = holding("key.txt", KEY);
    const { manager, said } = managerOver({ store, sources: [file] });
    const results = await all(manager.syncMany(inBatches([alice, bob], [carol, dave])));
    expect(results.map(({ userId, source: from, synced, error }) => [userId, from, synced, error?.code])).toEqual([
      ["alice", "key.txt", true, undefined],
      ["bob", "database", false, undefined],
      ["carol", "key.txt", true, undefined],
      ["dave", null, false, "ROW_UNREADABLE"],
    ]);
    expect(results[1]?.shadowed).toEqual(["key.txt"]);
    expect(file.reads).toBe(1);
    expect(said()).toEqual(["⚠️ Invalid key format in database"]);
    expect(store.rows.get(carol)).toMatchObject({ origin: "key.txt", keyHash: KEY.hash });
  });

  it("reads a batch first and inserts what is missing, until nobody of a batch has a row", async () => {
    const store = memoryStore(record(bob, OTHER), record(dave, OTHER));
    const { watched, calls } = watching(store);
    const { manager } = managerOver({ store: watched, sources: [holding("key.txt", KEY)] });
    const users = ["u1", "u2", "u3", "u4", "u5"].map((id) => parseUserId(id)) as [
      UserId,
      UserId,
      UserId,
      UserId,
      UserId,
    ];
    const batches = [[alice, bob], [users[0], users[1]], [users[2], users[3]], [carol, dave], [users[4]]];
    const results = await all(manager.syncMany(inBatches(...batches)));
    expect(results.map(({ userId }) => userId)).toEqual(batches.flat());
    expect(calls).toEqual([
      "read alice bob",
      "insert alice",
      // Somebody of the batch before had a row.
      "read u1 u2",
      "insert u1 u2",
      // Nobody of the batch before had one.
      "insert u3 u4",
      "insert carol dave",
      "read dave",
      "read u5",
      "insert u5",
    ]);
  });

  it("reads again who lost an insert to a row that came after the look", async () => {
    const store = memoryStore();
    const { watched } = watching({
      ...store,
      async insertMany(records, signal) {
        if (store.rows.size === 0) await store.insert(record(bob, OTHER), signal);
        return store.insertMany(records, signal);
      },
    });
    const { manager } = managerOver({ store: watched, sources: [holding("key.txt", KEY)] });
    const results = await all(manager.syncMany(inBatches([alice, bob])));
    expect(results.map(({ source }) => source)).toEqual(["key.txt", "database"]);
  });

  it("seals each user's copy for that user alone", async () => {
    const store = memoryStore();
    const { manager } = managerOver({ store, sources: [holding("key.txt", KEY)] });
    await all(manager.syncMany(inBatches([alice, bob])));
    const swapped = store.rows.get(alice)?.keyEncrypted ?? "";
    expect(() => sealer.open(swapped, bob)).toThrow(expect.objectContaining({ code: "ROW_UNREADABLE" }));
  });

  it("is NO_KEY for who has none, with nothing to give them", async () => {
    const { manager } = managerOver({ store: memoryStore(record(bob, OTHER)) });
    const results = await all(manager.syncMany(inBatches([alice, bob])));
    expect(results.map(({ error }) => error?.code ?? null)).toEqual(["NO_KEY", null]);
  });

  it("reads the database only when told to", async () => {
    const store = memoryStore();
    const file = holding("key.txt", KEY);
    const { manager } = managerOver({ store, sources: [file] });
    const [result] = await all(manager.syncMany(inBatches([alice]), { reach: "stored" }));
    expect([result?.error?.code, file.reads, store.rows.size]).toEqual(["NO_KEY", 0, 0]);
  });

  it("gives a batch only after its commit, and asks for no more before", async () => {
    const store = memoryStore();
    const committed: string[] = [];
    const watched: KeyStore = {
      ...store,
      async insertMany(records, signal) {
        const won = await store.insertMany(records, signal);
        committed.push(...records.map(({ userId }) => userId));
        return won;
      },
    };
    const { manager } = managerOver({ store: watched, sources: [holding("key.txt", KEY)] });
    const given: string[] = [];
    for await (const batch of manager.syncMany(inBatches([alice, bob], [carol, dave]))) {
      given.push(...batch.map(({ userId }) => userId));
      expect(committed).toEqual(given);
    }
    expect(given).toEqual(["alice", "bob", "carol", "dave"]);
  });

  it("throws what fails for everybody", async () => {
    const wrong = new KeyctlError("MASTER_KEY_WRONG", "not the ones that it is sealed with");
    const { manager } = managerOver({ store: memoryStore(record(alice, KEY)), sealer: () => Promise.reject(wrong) });
    await expect(all(manager.syncMany(inBatches([alice])))).rejects.toBe(wrong);
  });
});

/** This store, and which users were read and inserted, in order. */
function watching(store: KeyStore) {
  const calls: string[] = [];
  const watched: KeyStore = {
    ...store,
    findMany(users, signal) {
      calls.push(`read ${users.join(" ")}`);
      return store.findMany(users, signal);
    },
    insertMany(records, signal) {
      calls.push(`insert ${records.map(({ userId }) => userId).join(" ")}`);
      return store.insertMany(records, signal);
    },
  };
  return { watched, calls };
}
