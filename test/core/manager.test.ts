import { describe, expect, it } from "vitest";
import { ApiKey } from "../../src/core/model/api-key.ts";
import { KeyctlError } from "../../src/core/model/errors.ts";
import { newRecord, storedValue } from "../../src/core/model/key-record.ts";
import type { KeyRecord } from "../../src/core/model/key-record.ts";
import { logLines } from "../../src/core/model/log-event.ts";
import type { LogEvent } from "../../src/core/model/log-event.ts";
import { KeyManager } from "../../src/core/manager.ts";
import type { KeySource, KeyStore, SourceReading } from "../../src/core/ports/stores-and-sources.ts";
import { parseUserId } from "../../src/core/model/user-id.ts";
import type { UserId } from "../../src/core/model/user-id.ts";
import { masterKey } from "../../src/encryption/jwe.ts";
import { createSealer } from "../../src/encryption/sealer.ts";
import { gate } from "../support/gate.ts";
import { memoryJournal } from "../support/memory-journal.ts";
import { memoryStore, nobodysLock, noOpenRouter } from "../support/memory-store.ts";
import type { ManagerContext } from "../../src/core/manager-options.ts";

const NOW = "2026-11-22T02:14:07.113Z";
const EARLIER = "2025-10-05T09:00:00.000Z";
const alice = parseUserId("alice");
const sealer = createSealer(masterKey(Buffer.alloc(32, 1)));

const keyEnding = (tail: string): ApiKey => ApiKey.parse(`sk-or-v1-${"0".repeat(60)}${tail}`) as ApiKey;
const KEY = keyEnding("b465");
const OTHER = keyEnding("91aa");

const record = (user: UserId, key: ApiKey, origin = "manual"): KeyRecord =>
  newRecord(user, { key, sealed: sealer.seal(key, user), origin, now: EARLIER });
const cleared = (user: UserId, key: ApiKey): KeyRecord => ({
  ...record(user, key),
  keyEncrypted: key.reveal(),
  keyHash: null,
  keyTail: null,
  revision: null,
});
const unreadable = (user: UserId): KeyRecord => ({ ...record(user, KEY), keyEncrypted: "what is this?" });

/** A source that counts how often it is read. */
function source(name: KeySource["name"], reading: SourceReading) {
  const counted = {
    name,
    place: name === "key.txt" ? "/srv/key.txt" : "OPENROUTER_API_KEY",
    reads: 0,
    async read() {
      counted.reads += 1;
      return { reading, warnings: [] };
    },
  };
  return counted;
}

const found = (key: ApiKey): SourceReading => ({ status: "found", key });
const holding = (name: KeySource["name"], key: ApiKey) => source(name, found(key));

/** A manager over these parts that remembers what it said. */
function managerOver(parts: Partial<ManagerContext> & { readonly store: KeyStore }) {
  const events: LogEvent[] = [];
  const manager = new KeyManager({
    lock: nobodysLock,
    sealer: async () => sealer,
    assertCanSeal: async () => {},
    sources: [],
    clock: { now: () => new Date(NOW) },
    log: (event) => events.push(event),
    ...noOpenRouter,
    journal: memoryJournal(),
    hasManagementKey: () => false,
    autoProvision: true,
    timeoutMs: 30_000,
    ...parts,
  });
  return { manager, said: () => events.flatMap(logLines).map((line) => line.replace("[KeyManager] ", "")) };
}

/** A store whose `find` waits at a gate, and says when somebody has come to it and with which signal. */
function gatedStore(...records: readonly KeyRecord[]) {
  const store = memoryStore(...records);
  const reached = gate();
  const held = gate();
  const finds: { readonly user: UserId; readonly signal: AbortSignal }[] = [];
  const gated: KeyStore = {
    ...store,
    async find(user, signal) {
      finds.push({ user, signal });
      reached.open();
      await new Promise<void>((resolve, reject) => {
        void held.opened.then(resolve);
        signal.addEventListener("abort", () => reject(signal.reason));
      });
      return store.find(user, signal);
    },
  };
  return { store, gated, finds, reached: reached.opened, release: () => held.open() };
}

async function* inBatches(...batches: readonly (readonly UserId[])[]): AsyncGenerator<readonly UserId[]> {
  yield* batches;
}

async function all<Item>(items: AsyncIterable<readonly Item[]>): Promise<readonly Item[]> {
  const list: Item[] = [];
  for await (const batch of items) list.push(...batch);
  return list;
}

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
    expect(store.rows.get(alice)?.origin ?? null).toBe(winner);
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
        provisioning: { ...noOpenRouter.provisioning, refusal: "the database was just made" },
      },
      ["🔄 Attempting auto-provision...", "❌ Auto-provision failed: the database was just made"],
      "keyctl provision --user alice   makes a key all the same",
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

describe("one flight per user", () => {
  it("a hundred calls at once make one resolution and get one answer", async () => {
    const { gated, store, finds, release } = gatedStore();
    const file = holding("key.txt", KEY);
    const { manager, said } = managerOver({ store: gated, sources: [file] });
    const calls = Array.from({ length: 100 }, () => manager.syncAndGetKey("alice"));
    release();
    const results = await Promise.all(calls);
    expect(new Set(results).size).toBe(1);
    expect(results[0]?.error).toBeNull();
    expect([finds.length, file.reads, store.rows.size]).toEqual([1, 1, 1]);
    expect(said().filter((line) => line.includes("Syncing"))).toHaveLength(1);
  });

  it("shares it between the ways in which an id can be written", async () => {
    const { gated, finds, release } = gatedStore();
    const { manager } = managerOver({ store: gated, sources: [holding("key.txt", KEY)] });
    const calls = ["68E228E87F803A11A4E23045", "68e228e87f803a11a4e23045"].map((id) => manager.syncAndGetKey(id));
    release();
    await Promise.all(calls);
    expect(finds).toHaveLength(1);
  });

  it("does not make one user wait for another", async () => {
    const { gated, release } = gatedStore(record(alice, KEY));
    const store = memoryStore(record(parseUserId("bob"), OTHER));
    const find: KeyStore["find"] = (user, signal) => (user === "bob" ? store : gated).find(user, signal);
    const { manager } = managerOver({ store: { ...gated, find } });
    const waiting = manager.syncAndGetKey("alice");
    expect((await manager.syncAndGetKey("bob")).key?.equals(OTHER)).toBe(true);
    release();
    expect((await waiting).key?.equals(KEY)).toBe(true);
  });

  it("starts anew when the last one has ended", async () => {
    const store = memoryStore();
    const { manager } = managerOver({ store, sources: [holding("key.txt", KEY)] });
    expect((await manager.syncAndGetKey("alice")).source).toBe("key.txt");
    expect((await manager.syncAndGetKey("alice")).source).toBe("database");
    store.rows.clear();
    expect((await manager.syncAndGetKey("alice")).source).toBe("key.txt");
  });

  it("starts anew after a failure", async () => {
    const store = memoryStore(record(alice, KEY));
    let calls = 0;
    const recovering: KeyStore = {
      ...store,
      async find(user, signal) {
        calls += 1;
        if (calls === 1) throw new KeyctlError("STORE_UNAVAILABLE", "the database does not answer");
        return store.find(user, signal);
      },
    };
    const { manager } = managerOver({ store: recovering });
    expect((await manager.syncAndGetKey("alice")).error?.code).toBe("STORE_UNAVAILABLE");
    expect((await manager.syncAndGetKey("alice")).error).toBeNull();
  });

  it("lets a caller stop waiting, and goes on for the others", async () => {
    const { gated, finds, reached, release } = gatedStore(record(alice, KEY));
    const { manager } = managerOver({ store: gated });
    const controller = new AbortController();
    const patient = manager.syncAndGetKey("alice");
    const impatient = manager.syncAndGetKey("alice", { signal: controller.signal });
    await reached;
    controller.abort();
    expect((await impatient).error?.code).toBe("INTERRUPTED");
    expect(finds.map(({ signal }) => signal.aborted)).toEqual([false]);
    release();
    expect((await patient).error).toBeNull();
    expect(finds).toHaveLength(1);
  });

  it("gives each caller its own time-out", async () => {
    const { gated, finds, release } = gatedStore(record(alice, KEY));
    const { manager } = managerOver({ store: gated });
    const patient = manager.syncAndGetKey("alice");
    const { error } = await manager.syncAndGetKey("alice", { timeoutMs: 1 });
    expect(error).toMatchObject({ code: "STORE_UNAVAILABLE", retryable: true });
    expect(finds.map(({ signal }) => signal.aborted)).toEqual([false]);
    release();
    expect((await patient).error).toBeNull();
  });

  it("takes the manager's time-out where the call has none", async () => {
    const { gated } = gatedStore();
    const { manager } = managerOver({ store: gated, timeoutMs: 1 });
    expect((await manager.syncAndGetKey("alice")).error?.code).toBe("STORE_UNAVAILABLE");
  });

  it("is given up when nobody waits for it any more, and the next call starts anew", async () => {
    const { gated, finds, reached, release } = gatedStore(record(alice, KEY));
    const { manager } = managerOver({ store: gated });
    const first = new AbortController();
    const second = new AbortController();
    const calls = [first, second].map(({ signal }) => manager.syncAndGetKey("alice", { signal }));
    await reached;
    first.abort();
    await calls[0];
    expect(finds.map(({ signal }) => signal.aborted)).toEqual([false]);
    second.abort();
    await calls[1];
    expect(finds.map(({ signal }) => signal.aborted)).toEqual([true]);
    const again = manager.syncAndGetKey("alice");
    release();
    expect((await again).error).toBeNull();
    expect(finds).toHaveLength(2);
  });

  it("saves nothing for a caller who had stopped waiting before the call", async () => {
    const store = memoryStore();
    const { manager } = managerOver({ store, sources: [holding("key.txt", KEY)] });
    const { error } = await manager.syncAndGetKey("alice", { signal: AbortSignal.abort() });
    expect(error?.code).toBe("INTERRUPTED");
    await manager.close();
    expect(store.rows.size).toBe(0);
  });

  it.each([
    [0, "STORE_UNAVAILABLE"],
    [0.5, "STORE_UNAVAILABLE"],
    [Number.NaN, "USAGE"],
    [-1, "USAGE"],
  ])("with a time-out of %s ms ends in %s", async (timeoutMs, code) => {
    const { gated } = gatedStore();
    const { manager } = managerOver({ store: gated });
    expect((await manager.syncAndGetKey("alice", { timeoutMs })).error?.code).toBe(code);
  });

  it.each([30_000.5, 2 ** 31, 2 ** 33, 90 * 86_400_000, Number.POSITIVE_INFINITY])(
    "waits through a time-out of %s ms as long as it takes",
    async (timeoutMs) => {
      const { gated, release } = gatedStore(record(alice, KEY));
      const { manager } = managerOver({ store: gated });
      const call = manager.syncAndGetKey("alice", { timeoutMs });
      // A timer that overflows is set to 1 ms, and would fire before one that is set later to more.
      await new Promise((resolve) => setTimeout(resolve, 2));
      release();
      expect((await call).error).toBeNull();
    },
  );

  it("tells a bad user id from everything else, without asking the store", async () => {
    const { gated, finds } = gatedStore();
    const { manager } = managerOver({ store: gated });
    expect(await manager.syncAndGetKey(" alice")).toMatchObject({
      userId: " alice",
      key: null,
      error: { code: "BAD_USER_ID" },
    });
    expect(finds).toEqual([]);
  });

  it("close waits for work in flight and then refuses more", async () => {
    const { gated, reached, release } = gatedStore();
    const order: string[] = [];
    const closing: KeyStore = {
      ...gated,
      async insert(row, signal) {
        order.push("insert");
        return gated.insert(row, signal);
      },
      async close() {
        order.push("close");
      },
    };
    const { manager } = managerOver({ store: closing, sources: [holding("key.txt", KEY)] });
    const call = manager.syncAndGetKey("alice");
    await reached;
    const closed = manager.close();
    expect((await manager.syncAndGetKey("bob")).error?.code).toBe("USAGE");
    release();
    expect((await call).error).toBeNull();
    await closed;
    expect(order).toEqual(["insert", "close"]);
    await manager.close();
    expect(order).toEqual(["insert", "close"]);
  });

  it.each<readonly [string, (manager: KeyManager) => Promise<unknown>]>([
    ["save", (manager) => manager.save("alice", KEY)],
    ["purge", (manager) => manager.purge("alice")],
    ["check", (manager) => manager.check()],
    ["count", (manager) => manager.count()],
  ])("close waits for %s", async (_name, start) => {
    const store = memoryStore(record(alice, OTHER));
    const reached = gate();
    const held = gate();
    const order: string[] = [];
    const hold = async () => {
      reached.open();
      await held.opened;
      order.push("answer");
    };
    const slow: KeyStore = {
      ...store,
      find: async (user, signal) => (await hold(), store.find(user, signal)),
      count: async (signal) => (await hold(), store.count(signal)),
      ping: async (signal) => (await hold(), store.ping(signal)),
      close: async () => void order.push("close"),
    };
    const { manager } = managerOver({ store: slow });
    const work = start(manager);
    await reached.opened;
    const closed = manager.close();
    held.open();
    await Promise.all([work, closed]);
    expect(order).toEqual(["answer", "close"]);
  });

  it("close waits for a resolution that its caller has given up", async () => {
    const store = memoryStore();
    const reached = gate();
    const held = gate();
    const order: string[] = [];
    const deaf: KeyStore = {
      ...store,
      async insert(row) {
        reached.open();
        await held.opened;
        order.push("insert");
        return store.insert(row, new AbortController().signal);
      },
      close: async () => void order.push("close"),
    };
    const { manager } = managerOver({ store: deaf, sources: [holding("key.txt", KEY)] });
    const controller = new AbortController();
    const call = manager.syncAndGetKey("alice", { signal: controller.signal });
    await reached.opened;
    controller.abort();
    expect((await call).error?.code).toBe("INTERRUPTED");
    const closed = manager.close();
    held.open();
    await closed;
    expect(order).toEqual(["insert", "close"]);
  });

  it.each<readonly [string, (manager: KeyManager) => Promise<{ error: KeyctlError | null }>]>([
    ["syncAndGetKey", (manager) => manager.syncAndGetKey("alice")],
    ["ensureKeyForUser", (manager) => manager.ensureKeyForUser("alice")],
    ["getStoredKey", (manager) => manager.getStoredKey("alice")],
    ["saveKeyToDb", (manager) => manager.saveKeyToDb("alice", KEY)],
    ["purge", (manager) => manager.purge("alice")],
  ])("a closed manager refuses %s", async (_name, call) => {
    const { manager } = managerOver({ store: memoryStore() });
    await manager.close();
    expect((await call(manager)).error?.code).toBe("USAGE");
  });

  it.each<readonly [string, (manager: KeyManager) => Promise<unknown>]>([
    ["check", (manager) => manager.check()],
    ["count", (manager) => manager.count()],
  ])("a closed manager rejects %s", async (_name, call) => {
    const { manager } = managerOver({ store: memoryStore() });
    await manager.close();
    await expect(call(manager)).rejects.toMatchObject({ code: "USAGE" });
  });
});

describe("ensureKeyForUser", () => {
  it("gives the key and says that nobody was asked whether it works", async () => {
    const { manager } = managerOver({ store: memoryStore(record(alice, KEY)) });
    expect(await manager.ensureKeyForUser("alice")).toEqual({
      key: expect.any(ApiKey),
      source: "database",
      valid: null,
      error: null,
    });
  });

  it("asks OpenRouter nothing for a user without a key", async () => {
    const { manager } = managerOver({ store: memoryStore() });
    expect(await manager.ensureKeyForUser("alice", { validate: true })).toMatchObject({
      key: null,
      source: null,
      valid: null,
      error: { code: "NO_KEY" },
    });
  });
});

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
