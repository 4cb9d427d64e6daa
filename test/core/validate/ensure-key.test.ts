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
