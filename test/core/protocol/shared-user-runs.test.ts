import { describe, expect, it } from "vitest";
import { KeyctlError } from "../../../src/core/model/errors.ts";
import { KeyManager } from "../../../src/core/manager/manager.ts";
import type { KeyStore } from "../../../src/core/ports/stores-and-sources.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { gate } from "../../support/faults/latch.ts";
import { memoryStore } from "../../support/memory/store.ts";
import { alice, KEY, OTHER, record, holding, managerOver, gatedStore } from "../../support/memory/manager-over.ts";

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
