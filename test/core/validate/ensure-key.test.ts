import { describe, expect, it } from "vitest";
import { ApiKey } from "../../../src/core/model/api-key.ts";
import { memoryStore } from "../../support/memory/store.ts";
import { alice, KEY, record, managerOver } from "../../support/memory/manager-over.ts";

describe("ensureKeyForUser", () => {
  it("gives the key and says that nobody was asked whether it works", async () => {
    const { manager } = managerOver({ store: memoryStore(record(alice, KEY)) });
    expect(await manager.ensureKeyForUser("alice")).toEqual({
      key: expect.any(ApiKey),
      source: "database",
      valid: null,
      warnings: [],
      error: null,
    });
  });

  it("says with the key what is known of it", async () => {
    const lastCheck = { at: "2026-11-20T00:00:00.000Z", verdict: "invalid", reason: "deleted" } as const;
    const { manager } = managerOver({ store: memoryStore({ ...record(alice, KEY), lastCheck }) });
    expect(await manager.ensureKeyForUser("alice")).toMatchObject({
      source: "database",
      valid: null,
      warnings: [{ code: "KEY_KNOWN_INVALID" }],
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
