import { describe, expect, it } from "vitest";
import { storedValue } from "../../../src/core/model/key-record.ts";
import type { KeyRecord } from "../../../src/core/model/key-record.ts";
import type { KeyStore } from "../../../src/core/ports/stores-and-sources.ts";
import { memoryStore } from "../../support/memory/store.ts";
import {
  NOW,
  EARLIER,
  alice,
  keyEnding,
  KEY,
  OTHER,
  record,
  cleared,
  unreadable,
  managerOver,
} from "../../support/memory/manager-over.ts";

describe("save", () => {
  it("stores a first key, sealed", async () => {
    const store = memoryStore();
    const { manager, said } = managerOver({ store });
    const result = await manager.save("alice", ` ${KEY.reveal()}\n`);
    expect(result).toMatchObject({ changed: true, origin: "manual", keyHash: KEY.hash, previous: null, warnings: [] });
    const row = store.rows.get(alice);
    expect(row).toMatchObject({
      origin: "manual",
      keyHash: KEY.hash,
      keyTail: "b465",
      revision: 1,
      generation: 0,
      settled: true,
      createdAt: NOW,
      updatedAt: NOW,
      lastValidated: null,
      lastCheck: null,
    });
    expect(storedValue(row?.keyEncrypted ?? "").kind).toBe("sealed");
    expect(said()).toEqual(["✅ Saved key to database (source: manual): ***************b465"]);
  });

  it("changes nothing for the same key", async () => {
    for (const row of [record(alice, KEY, "key.txt"), cleared(alice, KEY)]) {
      const store = memoryStore(row);
      const { manager, said } = managerOver({ store });
      const result = await manager.saveKeyToDb("alice", KEY);
      expect(result).toMatchObject({ changed: false, origin: row.origin, previous: null, error: null });
      expect(store.rows.get(alice)).toBe(row);
      expect(said()).toEqual([]);
    }
  });

  it.each([
    ["a sealed key", record(alice, KEY), "***************b465"],
    ["a key in clear", cleared(alice, KEY), "***************b465"],
    ["an unreadable row", unreadable(alice), "unreadable"],
  ])("keeps %s unless it may be replaced", async (_name, row, shown) => {
    const store = memoryStore(row);
    const { manager } = managerOver({ store });
    const { changed, error } = await manager.save("alice", OTHER);
    expect([changed, error?.code]).toEqual([false, "KEY_EXISTS"]);
    expect(error?.message).toContain(shown);
    expect(error?.hint).toBe("keyctl save --user alice --replace");
    expect(store.rows.get(alice)).toBe(row);
  });

  it.each([
    [
      "a sealed key",
      record(alice, KEY, "key.txt"),
      { key: "***************b465", keyHash: KEY.hash, origin: "key.txt", revocation: "kept" },
      3,
    ],
    [
      "a key in clear",
      cleared(alice, KEY),
      { key: "***************b465", keyHash: null, origin: "manual", revocation: "kept" },
      2,
    ],
    ["an unreadable row", unreadable(alice), { key: null, keyHash: KEY.hash, origin: "manual", revocation: "kept" }, 3],
  ])("replaces %s when told to, settles that and says what went", async (_name, row, previous, revision) => {
    const checked: KeyRecord = {
      ...row,
      lastValidated: EARLIER,
      lastCheck: { at: EARLIER, verdict: "valid", reason: null },
      generation: 3,
    };
    const store = memoryStore(checked);
    const { manager } = managerOver({ store });
    expect(await manager.save("alice", OTHER, { replace: "any", source: "rotation" })).toMatchObject({
      changed: true,
      previous,
      error: null,
    });
    expect(store.rows.get(alice)).toMatchObject({
      id: row.id,
      revision,
      keyHash: OTHER.hash,
      keyTail: "91aa",
      origin: "rotation",
      generation: 0,
      settled: true,
      previous: null,
      lastValidated: null,
      lastCheck: null,
      createdAt: NOW,
    });
    expect((await manager.getStoredKey("alice")).key?.equals(OTHER)).toBe(true);
  });

  it("replaces the key that was seen, and no other", async () => {
    const seen = record(alice, KEY);
    const store = memoryStore(seen);
    const { manager } = managerOver({ store });
    const third = keyEnding("77e0");
    expect((await manager.save("alice", third, { replace: { keyHash: OTHER.hash } })).error).toMatchObject({
      code: "CONFLICT",
      retryable: true,
    });
    expect(store.rows.get(alice)).toBe(seen);
    expect((await manager.save("alice", third, { replace: { keyHash: KEY.hash } })).changed).toBe(true);
  });

  it.each([
    ["may not be replaced", "none", "KEY_EXISTS"],
    ["was another when it was seen", { keyHash: KEY.hash }, "CONFLICT"],
  ] as const)("leaves a key that came between reading and writing and %s", async (_name, replace, code) => {
    const before = replace === "none" ? [] : [record(alice, KEY)];
    const store = memoryStore(...before);
    const winner = { ...record(alice, OTHER), revision: 7 };
    const overtaken: KeyStore = {
      ...store,
      async insert(row, signal) {
        store.rows.set(alice, winner);
        return store.insert(row, signal);
      },
      async replace(row, seen, signal) {
        store.rows.set(alice, winner);
        return store.replace(row, seen, signal);
      },
    };
    const { manager, said } = managerOver({ store: overtaken });
    expect((await manager.save("alice", keyEnding("77e0"), { replace })).error?.code).toBe(code);
    expect(store.rows.get(alice)).toBe(winner);
    expect(said()).toEqual([]);
  });

  it("replaces a key that came between reading and writing when any may be replaced", async () => {
    const store = memoryStore(record(alice, KEY));
    let overtaken = false;
    const racing: KeyStore = {
      ...store,
      async replace(row, seen, signal) {
        if (!overtaken) store.rows.set(alice, { ...record(alice, OTHER), revision: 7 });
        overtaken = true;
        return store.replace(row, seen, signal);
      },
    };
    const { manager } = managerOver({ store: racing });
    const result = await manager.saveKeyToDb("alice", keyEnding("77e0"));
    expect(result).toMatchObject({ changed: true, previous: { keyHash: OTHER.hash } });
    expect(store.rows.get(alice)).toMatchObject({ keyTail: "77e0", revision: 8 });
  });

  it.each([
    ["a mask", KEY.masked, "KEY_IS_MASKED"],
    ["a word", "hunter2-hunter2", "BAD_KEY_FORMAT"],
    ["nothing", "", "BAD_KEY_FORMAT"],
    ["two keys", `${KEY.reveal()}\n${OTHER.reveal()}`, "BAD_KEY_FORMAT"],
  ])("refuses %s, says so and repeats nothing of it", async (_name, text, code) => {
    const store = memoryStore();
    const { manager, said } = managerOver({ store });
    const { error } = await manager.saveKeyToDb("alice", text);
    expect(error?.code).toBe(code);
    expect(`${error?.message} ${error?.hint}`).not.toMatch(/b465|91aa|hunter2/);
    expect(said()).toEqual(["❌ Invalid key format, not saving"]);
    expect(store.rows.size).toBe(0);
  });

  it.each(["", "a b", "x".repeat(33), "-x", "a\nb", "é"])("refuses the source %j", async (origin) => {
    const store = memoryStore();
    const { manager } = managerOver({ store });
    expect((await manager.saveKeyToDb("alice", KEY, origin)).error?.code).toBe("USAGE");
    expect(store.rows.size).toBe(0);
  });

  it("warns of a key that does not look like OpenRouter's, and stores it", async () => {
    const { manager } = managerOver({ store: memoryStore() });
    const { changed, warnings } = await manager.saveKeyToDb("alice", "sk-or-v1-test-key");
    expect([changed, warnings.map(({ code }) => code)]).toEqual([true, ["KEY_SHAPE"]]);
  });
});
