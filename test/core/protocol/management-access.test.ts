import { describe, expect, it } from "vitest";
import { deadlineIn } from "../../../src/core/async/deadline.ts";
import { KeyctlError } from "../../../src/core/model/errors.ts";
import { ManagementKey } from "../../../src/core/model/management-key.ts";
import type { Account, Standing } from "../../../src/core/ports/account.ts";
import type { UpstreamKeys } from "../../../src/core/ports/openrouter.ts";
import { requireUpstreamKeys } from "../../../src/core/protocol/management-access.ts";
import { hashOf, keyEnding } from "../../support/fixtures/keys.ts";
import { clientOf } from "../../support/openrouter/client.ts";
import { mockOpenRouter } from "../../support/openrouter/of-test.ts";

const HASH = hashOf(keyEnding("0001"));
const budget = () => deadlineIn(10_000, new AbortController().signal);

/** The access with a management key whose account has this standing, or is another one. */
async function access(standing: Standing | "another") {
  const server = await mockOpenRouter();
  server.addKey(keyEnding("0001"));
  const { client } = clientOf(server);
  const refusal = new KeyctlError("MANAGEMENT_KEY_OF_ANOTHER_ACCOUNT", "of another account", { hint: "none" });
  const account = {
    standing: async () => {
      if (standing === "another") throw refusal;
      return standing;
    },
  };
  const keys = await requireUpstreamKeys(
    {
      openRouter: { open: async () => client, sent: () => 0, onPause: () => () => {}, close: async () => {} },
      managementKey: () => ManagementKey.parse(server.managementKey),
      // Only the standing is asked for.
      account: {
        open: async () => account as unknown as Account,
        restrictions: () => Promise.reject(new Error("nothing is attached here")),
        takeWarnings: () => [],
      },
    },
    "a test",
  );
  return { server, keys };
}

const CHANGES: Readonly<Record<string, (keys: UpstreamKeys, hash: string) => Promise<{ readonly status: string }>>> = {
  setLimit: (keys, hash) => keys.setLimit(hash, 5, budget()),
  assignGuardrail: (keys, hash) => keys.assignGuardrail("no-guardrail", hash, budget()),
  unassignGuardrail: (keys, hash) => keys.unassignGuardrail("no-guardrail", hash, budget()),
  setAllowedKeys: (keys, hash) => keys.setAllowedKeys("no-credential", [hash], budget()),
};

describe.each(Object.entries(CHANGES))("%s with a management key", (_name, change) => {
  it("of another account changes nothing", async () => {
    const { server, keys } = await access("another");
    await expect(change(keys, HASH)).rejects.toMatchObject({ code: "MANAGEMENT_KEY_OF_ANOTHER_ACCOUNT" });
    expect(server.count()).toBe(0);
  });

  it("of an account that nobody could compare does not find out that something is gone", async () => {
    const { keys } = await access("unknown");
    const gone = hashOf("nobody");
    expect(await change(keys, gone)).toMatchObject({ status: "unknown", httpStatus: 404 });
    expect(await change((await access("ours")).keys, gone)).toEqual({ status: "gone" });
  });
});

describe("the restrictions of keys", () => {
  it("are read and changed through the access", async () => {
    const { server, keys } = await access("ours");
    const guardrail = server.addGuardrail();
    const { id: credential } = server.addCredential();
    expect(await keys.assignGuardrail(guardrail, HASH, budget())).toEqual({ status: "done" });
    expect(await keys.setAllowedKeys(credential, [HASH], budget())).toEqual({ status: "done" });
    expect(await keys.setLimit(HASH, 5, budget())).toEqual({ status: "done" });
    const assignments = [];
    for await (const page of keys.guardrailAssignments(budget)) assignments.push(page);
    expect(assignments).toEqual([{ status: "listed", assignments: [{ keyHash: HASH, guardrail }] }]);
    const lists = [];
    for await (const page of keys.allowLists([null], budget)) lists.push(page);
    expect(lists).toEqual([{ status: "listed", lists: [{ credential, keys: [HASH] }] }]);
    expect(await keys.unassignGuardrail(guardrail, HASH, budget())).toEqual({ status: "done" });
    expect(server.guardrails().size).toBe(0);
  });
});
