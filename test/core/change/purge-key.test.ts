import { describe, expect, it } from "vitest";
import type { KeyStore } from "../../../src/core/ports/stores-and-sources.ts";
import { memoryStore } from "../../support/memory/store.ts";
import { alice, KEY, OTHER, record, unreadable, holding, managerOver } from "../../support/memory/manager-over.ts";

describe("purge", () => {
  it("removes the row, says what it held and where it would come back from", async () => {
    const store = memoryStore(record(alice, KEY, "key.txt"));
    const { manager } = managerOver({ store, sources: [holding("key.txt", KEY), holding("environment", OTHER)] });
    const former = { key: "***************b465", keyHash: KEY.hash, origin: "key.txt" };
    const preview = await manager.previewPurge("alice");
    expect(preview).toMatchObject({ purged: false, former, returnsFrom: ["key.txt", "environment"] });
    expect(store.rows.size).toBe(1);
    expect(await manager.purge("alice")).toMatchObject({
      purged: true,
      former,
      returnsFrom: ["key.txt", "environment"],
    });
    expect(store.rows.size).toBe(0);
  });

  it("of a user without a key is done already", async () => {
    const { manager } = managerOver({ store: memoryStore() });
    expect(await manager.purge("alice")).toMatchObject({ purged: false, former: null, error: null });
  });

  it("needs no master key, not for an unreadable row either", async () => {
    const store = memoryStore(unreadable(alice));
    const { manager } = managerOver({ store, sealer: () => Promise.reject(new Error("asked for a master key")) });
    expect(await manager.purge("alice")).toMatchObject({ purged: true, former: { key: null } });
    expect(store.rows.size).toBe(0);
  });

  it("leaves another key than the one that was asked about", async () => {
    const store = memoryStore(record(alice, OTHER));
    const { manager } = managerOver({ store });
    expect((await manager.purge("alice", { onlyHash: KEY.hash })).error?.code).toBe("CONFLICT");
    expect(store.rows.size).toBe(1);
    expect((await manager.purge("alice", { onlyHash: OTHER.hash })).purged).toBe(true);
  });

  it("leaves a key that came between reading and removing", async () => {
    const store = memoryStore(record(alice, KEY));
    const winner = { ...record(alice, OTHER), revision: 2 };
    const overtaken: KeyStore = {
      ...store,
      async remove(user, seen, signal) {
        store.rows.set(alice, winner);
        return store.remove(user, seen, signal);
      },
    };
    const { manager } = managerOver({ store: overtaken });
    expect((await manager.purge("alice", { onlyHash: KEY.hash })).error?.code).toBe("CONFLICT");
    expect(store.rows.get(alice)).toBe(winner);
  });

  it("of a row that never holds still is a CONFLICT", async () => {
    const { manager } = managerOver({ store: { ...memoryStore(record(alice, KEY)), remove: async () => false } });
    expect((await manager.purge("alice")).error?.code).toBe("CONFLICT");
  });
});
