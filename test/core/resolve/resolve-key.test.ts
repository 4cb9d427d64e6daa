import { keyIn } from "../../../src/core/model/tombstone.ts";
import { describe, expect, it } from "vitest";
import { KeyctlError } from "../../../src/core/model/errors.ts";
import type { KeyRecord } from "../../../src/core/model/key-record.ts";
import { KeyManager } from "../../../src/core/manager/manager.ts";
import type { KeyStore, SourceReading } from "../../../src/core/ports/stores-and-sources.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { memoryStore, noOpenRouter } from "../../support/memory/store.ts";
import type { ManagerContext } from "../../../src/core/manager/manager-options.ts";
import {
  alice,
  sealer,
  keyEnding,
  KEY,
  OTHER,
  record,
  cleared,
  source,
  found,
  holding,
  managerOver,
} from "../../support/memory/manager-over.ts";

describe("the order of the sources", () => {
  const absent: SourceReading = { status: "absent" };
  const malformed: SourceReading = { status: "malformed", detail: "is empty" };
  const cannot: SourceReading = { status: "unreadable", reason: "permission denied" };

  it.each<readonly [string, SourceReading, SourceReading, string | null, string | null]>([
    ["the file before the environment", found(KEY), found(OTHER), "key.txt", "b465"],
    ["the file alone", found(KEY), absent, "key.txt", "b465"],
    ["the environment alone", absent, found(OTHER), "environment", "91aa"],
    ["the environment when the file holds no key", malformed, found(OTHER), "environment", "91aa"],
    ["the environment when the file cannot be read", cannot, found(OTHER), "environment", "91aa"],
    ["the file when the variable holds no key", found(KEY), malformed, "key.txt", "b465"],
    ["nothing", absent, absent, null, null],
    ["nothing well formed", malformed, malformed, null, null],
  ])("takes %s", async (_name, file, variable, winner, tail) => {
    const store = memoryStore();
    const { manager } = managerOver({ store, sources: [source("key.txt", file), source("environment", variable)] });
    const { key, source: from, synced, error } = await manager.syncAndGetKey("alice");
    expect([from, key?.tail ?? null]).toEqual([winner, tail]);
    expect(synced).toBe(winner !== null);
    expect(keyIn(store.rows.get(alice))?.origin ?? null).toBe(winner);
    expect(error?.code ?? null).toBe(winner === null ? "NO_KEY" : null);
  });

  it("takes the database before all of them, writes nothing and names who lost", async () => {
    const row = record(alice, KEY);
    const store = memoryStore(row);
    const sources = [holding("key.txt", OTHER), holding("environment", KEY)];
    const { manager, said } = managerOver({ store, sources });
    const result = await manager.syncAndGetKey("alice");
    expect(result).toMatchObject({ source: "database", origin: "manual", synced: false, shadowed: ["key.txt"] });
    expect(store.rows.get(alice)).toBe(row);
    expect(said()).toEqual([
      "===== Syncing API key for user alice =====",
      "✅ Loaded key from database: ***************b465",
      "⚠️ Key in file differs from database",
      "💡 Keeping database key (priority)",
      "✅ Using key from: database",
      "===== Sync complete =====",
    ]);
  });

  it("tells of both places that hold another key", async () => {
    const sources = [holding("key.txt", OTHER), holding("environment", keyEnding("77e0"))];
    const { manager, said } = managerOver({ store: memoryStore(record(alice, KEY)), sources });
    expect((await manager.syncAndGetKey("alice")).shadowed).toEqual(["key.txt", "environment"]);
    expect(said().filter((line) => line.includes("differs"))).toEqual([
      "⚠️ Key in file differs from database",
      "⚠️ Key in environment differs from database",
    ]);
  });

  it("tells of places that hold no key, and uses the database's", async () => {
    const sources = [source("key.txt", cannot), source("environment", malformed)];
    const { manager, said } = managerOver({ store: memoryStore(record(alice, KEY)), sources });
    expect((await manager.syncAndGetKey("alice")).warnings).toEqual([
      { code: "KEY_FILE_IGNORED", message: "key.txt could not be read: permission denied" },
      { code: "ENVIRONMENT_KEY_IGNORED", message: "OPENROUTER_API_KEY is empty" },
    ]);
    expect(said().slice(1)).toEqual([
      "✅ Loaded key from database: ***************b465",
      "⚠️ Could not read key.txt: permission denied",
      "⚠️ Invalid key format in OPENROUTER_API_KEY",
      "✅ Using key from: database",
      "===== Sync complete =====",
    ]);
  });
});

describe("no key anywhere", () => {
  it.each<readonly [name: string, parts: Partial<ManagerContext>, attempt: readonly string[], hint: string]>([
    [
      "without a management key",
      {},
      ["🔄 Attempting auto-provision...", "⚠️ OPENROUTER_PROVISIONING_KEY not set, cannot auto-provision"],
      "keyctl save --user alice",
    ],
    [
      "where none may be made in this run",
      {
        hasManagementKey: () => true,
        provisioning: { ...noOpenRouter.provisioning, refusal: "the database was just created" },
      },
      ["🔄 Attempting auto-provision...", "❌ Auto-provision failed: the database was just created"],
      "keyctl provision --user alice   creates a key anyway",
    ],
    ["where none may be made", { autoProvision: false, hasManagementKey: () => true }, [], "keyctl save --user alice"],
  ])("is NO_KEY %s", async (_name, parts, attempt, hint) => {
    const store = memoryStore();
    const { manager, said } = managerOver({ store, ...parts });
    const { key, error } = await manager.syncAndGetKey("alice");
    expect([key, error?.code, error?.hint]).toEqual([null, "NO_KEY", hint]);
    expect(said()).toEqual([
      "===== Syncing API key for user alice =====",
      "⚠️ No API key found in database, file, or environment",
      ...attempt,
      "❌ No API key available",
    ]);
    expect(store.rows.size).toBe(0);
  });

  it("obeys the call over the manager about making one", async () => {
    const { manager, said } = managerOver({ store: memoryStore() });
    await manager.syncAndGetKey("alice", { autoProvision: false });
    expect(said()).not.toContain("🔄 Attempting auto-provision...");
  });
});

describe("a database that fails", () => {
  const down = new KeyctlError("STORE_UNAVAILABLE", "the database does not answer");
  const fails = async () => {
    throw down;
  };

  it("ends the search: no other source is read", async () => {
    const file = holding("key.txt", KEY);
    const variable = holding("environment", KEY);
    const { manager } = managerOver({ store: { ...memoryStore(), find: fails }, sources: [file, variable] });
    const { key, error } = await manager.syncAndGetKey("alice");
    expect([key, error]).toEqual([null, down]);
    expect([file.reads, variable.reads]).toEqual([0, 0]);
  });

  it("gives no key that could not be saved", async () => {
    const sources = [holding("key.txt", KEY)];
    const { manager, said } = managerOver({ store: { ...memoryStore(), insert: fails }, sources });
    const { key, source: from, synced, error } = await manager.syncAndGetKey("alice");
    expect([key, from, synced, error]).toEqual([null, null, false, down]);
    expect(said().join("\n")).not.toMatch(/Saved|Using|complete/);
  });

  it.each<readonly [string, Partial<KeyStore>, (manager: KeyManager) => Promise<{ error: KeyctlError | null }>]>([
    ["getStoredKey", { findMany: fails }, (manager) => manager.getStoredKey("alice")],
    ["ensureKeyForUser", { find: fails }, (manager) => manager.ensureKeyForUser("alice")],
    ["saveKeyToDb", { find: fails }, (manager) => manager.saveKeyToDb("alice", KEY)],
    ["save", { insert: fails }, (manager) => manager.save("alice", KEY)],
    ["purge", { find: fails }, (manager) => manager.purge("alice")],
    ["previewPurge", { find: fails }, (manager) => manager.previewPurge("alice")],
  ])("is the error of %s", async (_name, failing, call) => {
    const { manager } = managerOver({ store: { ...memoryStore(), ...failing } });
    expect((await call(manager)).error).toBe(down);
  });

  it("makes check() reject", async () => {
    const { manager } = managerOver({ store: { ...memoryStore(), ping: fails } });
    await expect(manager.check()).rejects.toBe(down);
  });

  it("that is a bug of ours is thrown, not reported as a failure", async () => {
    const bug = new RangeError("not one of ours");
    const broken = async () => {
      throw bug;
    };
    const { manager } = managerOver({ store: { ...memoryStore(), find: broken } });
    await expect(manager.syncAndGetKey("alice")).rejects.toBe(bug);
  });
});

describe("a row", () => {
  it("in clear resolves and stays in clear", async () => {
    const row = cleared(alice, KEY);
    const store = memoryStore(row);
    const { manager } = managerOver({ store, sources: [holding("key.txt", OTHER)] });
    expect((await manager.syncAndGetKey("alice")).key?.equals(KEY)).toBe(true);
    expect((await manager.getStoredKey("alice")).key?.equals(KEY)).toBe(true);
    expect(store.rows.get(alice)).toBe(row);
  });

  it("in clear needs no master key", async () => {
    const { manager } = managerOver({
      store: memoryStore(cleared(alice, KEY)),
      sealer: () => Promise.reject(new Error("asked for a master key")),
    });
    expect((await manager.syncAndGetKey("alice")).error).toBeNull();
  });

  it.each([
    ["holds neither a JWE nor a key", (row: KeyRecord) => ({ ...row, keyEncrypted: "what is this?" })],
    ["is empty", (row: KeyRecord) => ({ ...row, keyEncrypted: "" })],
    ["holds a mask", (row: KeyRecord) => ({ ...row, keyEncrypted: KEY.masked })],
    ["was cut", (row: KeyRecord) => ({ ...row, keyEncrypted: row.keyEncrypted.slice(0, -4) })],
    [
      "was moved from another user",
      (row: KeyRecord) => ({ ...row, keyEncrypted: sealer.seal(KEY, parseUserId("bob")) }),
    ],
  ])("that %s is ROW_UNREADABLE, is said, and ends the search", async (_name, damaged) => {
    const file = holding("key.txt", OTHER);
    const store = memoryStore(damaged(record(alice, KEY)));
    const before = store.rows.get(alice);
    const { manager, said } = managerOver({ store, sources: [file] });
    const { key, error } = await manager.syncAndGetKey("alice");
    expect([key, error?.code]).toEqual([null, "ROW_UNREADABLE"]);
    expect(said()).toEqual(["===== Syncing API key for user alice =====", "⚠️ Invalid key format in database"]);
    expect(file.reads).toBe(0);
    expect(store.rows.get(alice)).toBe(before);
  });

  it("that another process inserted first wins over ours", async () => {
    const store = memoryStore();
    const winner = record(alice, OTHER, "environment");
    const racing: KeyStore = {
      ...store,
      async insert(ours, signal) {
        store.rows.set(alice, winner);
        return store.insert(ours, signal);
      },
    };
    const { manager, said } = managerOver({ store: racing, sources: [holding("key.txt", KEY)] });
    const result = await manager.syncAndGetKey("alice");
    expect(result).toMatchObject({ source: "database", origin: "environment", synced: false, shadowed: ["key.txt"] });
    expect(result.key?.equals(OTHER)).toBe(true);
    expect(said()).not.toContain("✅ Saved key to database (source: key.txt): ***************b465");
  });

  it("that comes and goes for ever is a CONFLICT, not an endless loop", async () => {
    const fickle: KeyStore = { ...memoryStore(), insert: async () => false };
    const { manager } = managerOver({ store: fickle, sources: [holding("key.txt", KEY)] });
    expect((await manager.syncAndGetKey("alice")).error).toMatchObject({ code: "CONFLICT", retryable: true });
  });
});
