import { describe, expect, it } from "vitest";
import { ApiKey } from "../../../src/core/model/api-key.ts";
import { collectStoreStats } from "../../../src/core/doctor/store-stats.ts";
import { newRecord, NO_TERMS, NOT_RENEWED } from "../../../src/core/model/key-record.ts";
import type { KeyRecord, Previous } from "../../../src/core/model/key-record.ts";
import type { KeyStore } from "../../../src/core/ports/stores-and-sources.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { masterKey } from "../../../src/encryption/jwe.ts";
import { createSealer } from "../../../src/encryption/sealer.ts";
import { keyEnding } from "../../support/fixtures/keys.ts";
import { memoryStore } from "../../support/memory/store.ts";

const first = masterKey(Buffer.alloc(32, 1));
const second = masterKey(Buffer.alloc(32, 2));
const sealer = createSealer(first, [second]);
const KEY = ApiKey.parse(keyEnding("b465")) as ApiKey;
const none: ReadonlySet<string> = new Set();
const never = new AbortController().signal;

const PREVIOUS: Previous = {
  ...NO_TERMS,
  ...NOT_RENEWED,
  revoke: true,
  graceMs: null,
  generation: 1,
  keyHash: null,
  keyEncrypted: null,
  keyTail: null,
  origin: "auto-provisioned",
  createdAt: "2026-11-11T00:00:00.000Z",
  lastValidated: null,
  lastCheck: null,
};

function row(name: string, change: Partial<KeyRecord> = {}, by = sealer): KeyRecord {
  const user = parseUserId(name);
  return {
    ...newRecord(user, { key: KEY, sealed: by.seal(KEY, user), origin: "manual", now: "2026-11-11T00:00:00.000Z" }),
    ...change,
  };
}

/** Gives these rows, two of a user as well. */
function storeOf(...rows: readonly KeyRecord[]): KeyStore {
  return {
    ...memoryStore(),
    async *scan(patience) {
      for (const each of rows) {
        patience().throwIfAborted();
        yield each;
      }
    },
  };
}

describe("a census", () => {
  it("counts the master keys of keys that are kept until a change is final, and those in clear", async () => {
    const rows = [
      row("alice", {
        settled: false,
        previous: { ...PREVIOUS, keyEncrypted: row("alice", {}, createSealer(second)).keyEncrypted },
      }),
      row("bob", { settled: false, previous: { ...PREVIOUS, keyEncrypted: KEY.reveal() } }),
      row("carol", { settled: false, previous: PREVIOUS }),
    ];
    expect(
      await collectStoreStats(storeOf(...rows), { sealer, deep: false, managementKeys: none }, never),
    ).toMatchObject({
      total: 3,
      sealed: 3,
      clear: { count: 1, first: ["bob"] },
      kids: new Map([
        [first.kid, 3],
        [second.kid, 1],
      ]),
    });
  });

  it("counts what rows are, names the first users of each kind, and opens nothing", async () => {
    const moved = row("erin").keyEncrypted;
    const rows = [
      row("alice"),
      row("bob", { keyEncrypted: KEY.reveal() }),
      row("carol", { keyEncrypted: "nonsense" }),
      row("dave"),
      row("dave", { id: "another" }),
      row("frank", { keyEncrypted: moved }),
      row("grace", {}, createSealer(second)),
    ];
    expect(await collectStoreStats(storeOf(...rows), { sealer, deep: false, managementKeys: none }, never)).toEqual({
      total: 7,
      sealed: 5,
      clear: { count: 1, first: ["bob"] },
      unreadable: { count: 1, first: ["carol"] },
      twins: { count: 1, first: ["dave"] },
      withManagementKey: { count: 0, first: [] },
      unopened: null,
      kids: new Map([
        [first.kid, 4],
        [second.kid, 1],
      ]),
      isComplete: true,
    });
  });

  it("opens each sealed row when it is deep, and names those that do not open", async () => {
    const rows = [
      row("alice"),
      row("bob", { keyEncrypted: row("alice").keyEncrypted }),
      row("carol", { keyEncrypted: KEY.reveal() }),
      row("dave", {}, createSealer(masterKey(Buffer.alloc(32, 3)))),
    ];
    const census = await collectStoreStats(storeOf(...rows), { sealer, deep: true, managementKeys: none }, never);
    expect(census.unopened).toEqual({ count: 2, first: ["bob", "dave"] });
  });

  it.each([
    ["a sealed row by its hash", row("alice"), false, 1],
    ["a row in clear by its key", row("alice", { keyEncrypted: KEY.reveal(), keyHash: null }), false, 1],
    ["no sealed row without a hash", row("alice", { keyHash: null }), false, 0],
    ["that row when it is opened", row("alice", { keyHash: null }), true, 1],
    ["no row with another key", row("alice", { keyHash: "0".repeat(64) }), false, 0],
  ])("knows the management key in %s", async (_name, held, deep, count) => {
    const managementKeys = new Set([KEY.hash]);
    const { withManagementKey } = await collectStoreStats(storeOf(held), { sealer, deep, managementKeys }, never);
    expect(withManagementKey).toEqual({ count, first: count === 0 ? [] : ["alice"] });
  });

  it("names five users of a kind and counts the others", async () => {
    const rows = Array.from({ length: 12 }, (_, index) => row(`user-${index + 10}`, { keyEncrypted: "nonsense" }));
    const { unreadable } = await collectStoreStats(
      storeOf(...rows),
      { sealer: undefined, deep: true, managementKeys: none },
      never,
    );
    expect(unreadable).toEqual({ count: 12, first: ["user-10", "user-11", "user-12", "user-13", "user-14"] });
  });

  it("says that it was cut off when the time is over, and keeps what it saw", async () => {
    const endless: KeyStore = {
      ...memoryStore(),
      async *scan() {
        for (;;) yield row("alice");
      },
    };
    const census = await collectStoreStats(
      endless,
      { sealer, deep: true, managementKeys: none },
      AbortSignal.timeout(100),
    );
    expect(census.isComplete).toBe(false);
    expect(census.total).toBeGreaterThan(0);
  });

  it("rejects when its caller stops waiting, and with what the store rejects with", async () => {
    await expect(
      collectStoreStats(
        storeOf(row("alice")),
        { sealer, deep: false, managementKeys: none },
        AbortSignal.abort("enough"),
      ),
    ).rejects.toBe("enough");
    const failing: KeyStore = {
      ...memoryStore(),
      scan: () => {
        throw new TypeError("a bug");
      },
    };
    await expect(collectStoreStats(failing, { sealer, deep: false, managementKeys: none }, never)).rejects.toThrow(
      "a bug",
    );
  });
});
