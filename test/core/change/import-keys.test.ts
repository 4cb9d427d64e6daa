import { describe, expect, it } from "vitest";
import type { Ports } from "../../../src/compose.ts";
import type { ImportEntry, ImportResult } from "../../../src/core/change/import-keys.ts";
import type { KeyManager } from "../../../src/core/manager/manager.ts";
import { keyEnding } from "../../support/fixtures/keys.ts";
import { emptyHome } from "../../support/home/home.ts";
import { managerOfTest } from "../../support/memory/manager.ts";

const KEY = keyEnding("0001");
const OTHER = keyEnding("0002");

async function imported(manager: KeyManager, ...batches: readonly (readonly ImportEntry[])[]) {
  async function* all() {
    yield* batches;
  }
  const results: ImportResult[] = [];
  for await (const batch of manager.importKeys(all())) results.push(...batch);
  return results.map(({ userId, outcome, error }) => [userId, outcome, error?.code]);
}

describe("importKeys", () => {
  it("gives one result for each entry, in their order, across batches", async () => {
    const manager = await managerOfTest(emptyHome());
    const first = [
      { userId: "alice", key: KEY },
      { userId: "bob", key: "nothing" },
      { userId: "alice", key: OTHER },
    ];
    expect(await imported(manager, first, [], [{ userId: "bob", key: KEY, source: "old" }])).toEqual([
      ["alice", "imported", undefined],
      ["bob", "failed", "BAD_KEY_FORMAT"],
      ["alice", "conflict", "KEY_EXISTS"],
      ["bob", "imported", undefined],
    ]);
    expect((await manager.getStoredKey("bob")).origin).toBe("old");
  });

  it("stores no key for a blocked user", async () => {
    const manager = await managerOfTest(emptyHome());
    await manager.block("alice");
    const both = [
      { userId: "alice", key: KEY },
      { userId: "bob", key: KEY },
    ];
    expect(await imported(manager, both)).toEqual([
      ["alice", "failed", "USER_BLOCKED"],
      ["bob", "imported", undefined],
    ]);
    expect((await manager.getStoredKey("alice")).error?.code).toBe("USER_BLOCKED");
  });

  it.each([
    [KEY, "kept", undefined],
    [OTHER, "conflict", "KEY_EXISTS"],
  ])("lets another command win that stores a key between its look and its insert", async (winner, outcome, code) => {
    const home = emptyHome();
    const rival = await managerOfTest(home);
    let isFirst = true;
    const around = (ports: Ports): Ports => ({
      ...ports,
      store: {
        ...ports.store,
        async insertMany(records, signal) {
          if (isFirst) await rival.save("alice", winner);
          isFirst = false;
          return ports.store.insertMany(records, signal);
        },
      },
    });
    const manager = await managerOfTest(home, {}, around);
    expect(await imported(manager, [{ userId: "alice", key: KEY }])).toEqual([["alice", outcome, code]]);
    expect((await rival.getStoredKey("alice")).key?.reveal()).toBe(winner);
  });
});
