import { describe, expect, it } from "vitest";
import { KeyctlError } from "../../../src/core/model/errors.ts";
import type { HistoryQuery } from "../../../src/core/manager/manager-options.ts";
import { memoryHistory } from "../../support/memory/history.ts";
import { alice, KEY, managerOver, NOW, OTHER } from "../../support/memory/manager-over.ts";
import { memoryStore } from "../../support/memory/store.ts";

async function managerWithEvents() {
  const { manager } = managerOver({ store: memoryStore(), historyStore: memoryHistory() });
  await manager.save("alice", KEY);
  await manager.save("bob", KEY);
  await manager.save("alice", OTHER, { replace: "any" });
  return manager;
}

type Manager = Awaited<ReturnType<typeof managerWithEvents>>;

async function told(manager: Manager, query?: HistoryQuery): Promise<readonly string[]> {
  const all: string[] = [];
  for await (const { userId, event, keyTail } of manager.history(query)) all.push(`${userId} ${event} ${keyTail}`);
  return all;
}

describe("KeyManager.history", () => {
  it("lists the newest event first", async () => {
    const manager = await managerWithEvents();
    const all = await told(manager);
    expect(all).toHaveLength(3);
    expect(all[0]).toBe("alice replaced 91aa");
  });

  it("lists the events of a user, of a key, and from a time on", async () => {
    const manager = await managerWithEvents();
    expect(await told(manager, { userId: "alice" })).toEqual(["alice replaced 91aa", "alice saved b465"]);
    expect((await told(manager, { keyHash: KEY.hash })).toSorted()).toEqual(["alice saved b465", "bob saved b465"]);
    expect(await told(manager, { userId: "bob", since: new Date(NOW) })).toEqual(["bob saved b465"]);
    expect(await told(manager, { since: new Date(Date.parse(NOW) + 1_000) })).toEqual([]);
  });

  it.each<[string, HistoryQuery, string]>([
    ["a hash that is none", { keyHash: "b465" }, "USAGE"],
    ["a bare key instead of a hash", { keyHash: KEY.reveal() }, "USAGE"],
    ["a time that is none", { since: new Date("soon") }, "USAGE"],
    ["a user id that is none", { userId: "" }, "BAD_USER_ID"],
  ])("refuses %s, and repeats no key", async (_, query, code) => {
    const manager = await managerWithEvents();
    const refused = await told(manager, query).catch((thrown: unknown) => thrown);
    expect(refused).toMatchObject({ code });
    expect((refused as Error).message).not.toContain(KEY.reveal());
  });

  it("refuses to go on after close", async () => {
    const manager = await managerWithEvents();
    await manager.close();
    await expect(told(manager)).rejects.toMatchObject({ code: "USAGE" });
  });
});

describe("KeyManager.noteRevealed", () => {
  it("notes each key that was handed out, with the reason", async () => {
    const manager = await managerWithEvents();
    const results = [await manager.getStoredKey("alice"), await manager.getStoredKey("nobody")];
    expect(await manager.noteRevealed(results, { reason: "migration" })).toEqual([]);
    const { value: last } = await manager.history({ userId: alice })[Symbol.asyncIterator]().next();
    expect(last).toMatchObject({
      event: "revealed",
      keyHash: OTHER.hash,
      keyTail: "91aa",
      generation: null,
      reason: "migration",
    });
    expect((await told(manager)).filter((event) => event.includes("revealed"))).toHaveLength(1);
  });

  it("returns the warning if they could not be noted", async () => {
    const away = new KeyctlError("STORE_UNAVAILABLE", "away");
    const historyStore = { ...memoryHistory(), addEvents: () => Promise.reject(away) };
    const { manager } = managerOver({ store: memoryStore(), historyStore });
    const saved = await manager.save("alice", KEY);
    expect(saved).toMatchObject({ error: null, warnings: [{ code: "HISTORY_NOT_WRITTEN" }] });
    const found = [await manager.getStoredKey("alice")];
    expect(await manager.noteRevealed(found)).toMatchObject([{ code: "HISTORY_NOT_WRITTEN" }]);
    expect(manager.takeWarnings()).toEqual([]);
  });
});
