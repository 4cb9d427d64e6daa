import { existsSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import { pass, standStill } from "../../../support/fixtures/date-of-test.ts";
import type { RotateOptions } from "../../../../src/core/manager/manager-options.ts";
import type { Duty, RotateResult } from "../../../../src/core/model/rotate-results.ts";
import { findKey } from "../../../../src/core/protocol/find-key.ts";
import { parseUserId } from "../../../../src/core/model/user-id.ts";
import { journalOf, stage, withStore } from "../../../support/home/tool-with-openrouter.ts";
import type { Stage } from "../../../support/home/tool-with-openrouter.ts";
import type { MockOptions } from "../../../support/openrouter/server.ts";
import { asLibrary } from "../../../support/programs/library-in-process.ts";
import { KEY } from "../../../support/fixtures/keys.ts";

const ALICE = parseUserId("alice");
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

standStill();

/** A user with a key of $10 a month that expires after 90 days. */
async function provisioned(options: MockOptions = {}, flags = "--limit 10 --limit-reset monthly --expires-in 90d") {
  const all = await stage(options);
  await all.given(`provision --user alice ${flags}`.trim());
  return all;
}

function rotate({ home, env }: Stage, options: RotateOptions = {}): Promise<RotateResult> {
  return asLibrary(home, env, (manager) => manager.rotate("alice", options));
}

async function finish({ home, env }: Stage): Promise<readonly Duty[]> {
  return asLibrary(home, env, async (manager) => {
    const duties: Duty[] = [];
    for await (const duty of manager.finishDue()) duties.push(duty);
    return duties;
  });
}

function rowOf({ home }: Stage) {
  return withStore(home, (store, signal) => findKey(store, ALICE, signal));
}

async function hashOf(all: Stage): Promise<string> {
  return (await rowOf(all))?.keyHash ?? "none";
}

describe("a rotation with a grace", () => {
  it("puts a new key in use, with the terms of the old one, which goes on working", async () => {
    const all = await provisioned();
    const old = await hashOf(all);
    const result = await rotate(all);
    expect(result).toMatchObject({
      userId: "alice",
      generation: 2,
      origin: "auto-provisioned",
      limit: 10,
      limitNow: 10,
      limitReset: "monthly",
      limitRestoreAt: null,
      expiresAt: "2027-02-22T12:00:00.000Z",
      verified: true,
      restrictions: { guardrail: "none", allowLists: 0 },
      previous: { keyHash: old, revocation: "scheduled", revokeAt: "2026-11-24T12:10:00.000Z" },
      error: null,
    });
    expect(result.warnings.map(({ code }) => code)).toEqual(["GRACE_DOUBLES_BUDGET"]);
    const row = await rowOf(all);
    expect(row).toMatchObject({ keyHash: result.keyHash, generation: 2, settled: true, previous: null });
    expect(all.server.keys.get(old)).toMatchObject({ disabled: false });
    expect(await journalOf(all.home)).toEqual([
      "due:1",
      "op:1",
      "op:2",
      "out:1 saved",
      "out:2 saved",
      "rev:1 superseded",
    ]);
  });

  it("is finished when its time has come, and not before", async () => {
    const all = await provisioned();
    const old = await hashOf(all);
    const { keyHash } = await rotate(all);
    pass(10 * MINUTE - 1000);
    expect(await finish(all)).toEqual([]);
    pass(1000);
    expect(await finish(all)).toMatchObject([
      { kind: "retire", userId: "alice", keyHash: old, dueAt: "2026-11-24T12:10:00.000Z", done: true, error: null },
    ]);
    expect([...all.server.keys.keys()]).toEqual([keyHash]);
    expect(await finish(all)).toEqual([]);
    expect(await hashOf(all)).toBe(keyHash);
  });

  it("is waited for, on request, until the old key is refused", async () => {
    const all = await provisioned({ goneKeysAcceptedMs: 0 });
    const old = await hashOf(all);
    vi.useRealTimers();
    const { previous, error } = await rotate(all, { graceMs: 300, wait: true });
    expect([previous?.revocation, error]).toEqual(["done", null]);
    expect(all.server.keys.has(old)).toBe(false);
  });

  it("may follow another one: both old keys go at their own times", async () => {
    const all = await provisioned();
    const first = await hashOf(all);
    const second = (await rotate(all, { graceMs: 20 * MINUTE })).keyHash ?? "";
    pass(5 * MINUTE);
    const third = (await rotate(all, { graceMs: 5 * MINUTE })).keyHash ?? "";
    pass(6 * MINUTE);
    expect((await finish(all)).map(({ keyHash }) => keyHash)).toEqual([second]);
    expect([...all.server.keys.keys()].toSorted()).toEqual([first, third].toSorted());
    pass(10 * MINUTE);
    expect((await finish(all)).map(({ keyHash }) => keyHash)).toEqual([first]);
  });
});

describe("a rotation without a grace", () => {
  it("removes the old key, and ends the graces under way", async () => {
    const all = await provisioned();
    await rotate(all);
    const { keyHash, previous } = await rotate(all, { graceMs: 0 });
    expect(previous).toMatchObject({ revocation: "done", revokeAt: null });
    expect([...all.server.keys.keys()]).toEqual([keyHash]);
    pass(DAY);
    expect(await finish(all)).toEqual([]);
  });

  it("is REVOKE_PENDING while OpenRouter still accepts the old key", { timeout: 60_000 }, async () => {
    const all = await provisioned({ goneKeysAcceptedMs: HOUR });
    const { key, previous, error } = await rotate(all, { graceMs: 0 });
    expect([key === null, previous?.revocation, error?.code]).toEqual([false, "pending", "REVOKE_PENDING"]);
    expect((await rowOf(all))?.keyHash).toBe(key?.hash);
  });
});

describe("the budget of a new key", () => {
  it("is what was left, and the whole limit again after the reset", async () => {
    const all = await provisioned();
    all.server.spend(await hashOf(all), 6.8);
    const { keyHash, limit, limitNow } = await rotate(all);
    expect([limit, limitNow]).toEqual([10, 3.2]);
    const upstream = () => all.server.keys.get(keyHash ?? "");
    expect(upstream()?.limit).toBe(3.2);
    pass(7 * DAY);
    const duties = await finish(all);
    expect(duties.filter(({ kind }) => kind === "restore_limit")).toMatchObject([
      { userId: "alice", keyHash, dueAt: "2026-12-01T00:05:00.000Z", done: true },
    ]);
    expect(upstream()?.limit).toBe(10);
    expect(await rowOf(all)).toMatchObject({ limit: 10, limitDue: null });
  });

  it("keeps its full limit over a second rotation before the reset", async () => {
    const all = await provisioned();
    all.server.spend(await hashOf(all), 4);
    const { keyHash } = await rotate(all);
    all.server.spend(keyHash ?? "", 1);
    const { limit, limitNow, limitRestoreAt } = await rotate(all);
    expect([limit, limitNow, limitRestoreAt]).toEqual([10, 5, "2026-12-01T00:05:00.000Z"]);
  });

  it.each([true, false])("counts the spending of own provider keys as the old one did: %s", async (counts) => {
    const all = await provisioned();
    const old = all.server.keys.get(await hashOf(all));
    if (old !== undefined) old.includeByokInLimit = counts;
    const { keyHash } = await rotate(all);
    expect(all.server.keys.get(keyHash ?? "")?.includeByokInLimit).toBe(counts);
  });

  it("may have fewer digits than what was left", async () => {
    const all = await provisioned();
    for (const usd of [1.1, 2.2]) all.server.spend(await hashOf(all), usd);
    all.server.configure({ newKeyLimit: 6.7 });
    const { limitNow, error } = await rotate(all);
    expect([error, limitNow]).toEqual([null, expect.closeTo(6.7)]);
    expect(limitNow).not.toBe(6.7);
  });

  it("gets its limit back before it is rotated again after the reset", async () => {
    const all = await provisioned();
    all.server.spend(await hashOf(all), 9);
    await rotate(all, { graceMs: 0 });
    pass(8 * DAY);
    const { limit, limitNow, limitRestoreAt } = await rotate(all, { graceMs: 0 });
    expect([limit, limitNow, limitRestoreAt]).toEqual([10, 10, null]);
  });

  it.each([
    ["overspent", 12, "--limit 10 --limit-reset monthly", { limitNow: 0, limitRestoreAt: "2026-12-01T00:05:00.000Z" }],
    ["of a limit that never resets", 4, "--limit 10", { limit: 6, limitNow: 6, limitRestoreAt: null }],
    ["without a limit", 4, "", { limit: null, limitNow: null, limitRestoreAt: null }],
  ])("is 'keep' where the old one is %s", async (_, spent, flags, expected) => {
    const all = await provisioned({}, flags);
    const key = all.server.keys.get(await hashOf(all));
    key?.usage.spend(spent, Date.now());
    expect(await rotate(all)).toMatchObject(expected);
  });

  it.each([
    ["full", { limit: 10, limitNow: 10 }],
    [25, { limit: 25, limitNow: 25, limitReset: "monthly" }],
    [null, { limit: null, limitNow: null, limitReset: null }],
  ] as const)("is as %s says", async (limit, expected) => {
    const all = await provisioned();
    all.server.spend(await hashOf(all), 6.8);
    expect(await rotate(all, { limit })).toMatchObject({ ...expected, limitRestoreAt: null });
  });
});

/** The user's key has a guardrail, and is the only one in an allow-list. */
async function restricted(options: MockOptions = {}) {
  const all = await provisioned(options);
  const old = await hashOf(all);
  const guardrail = all.server.addGuardrail();
  all.server.assignGuardrail(guardrail, old);
  const alone = all.server.addCredential({ allowedKeys: [old] });
  return { ...all, old, guardrail, alone };
}

describe("the restrictions of a new key", () => {
  it("are those of the old one, from before it is in use until the old one is gone", async () => {
    const all = await restricted();
    const { keyHash, restrictions } = await rotate(all);
    const now = keyHash ?? "";
    expect(restrictions).toEqual({ guardrail: "carried", allowLists: 1 });
    expect(all.server.guardrails()).toEqual(
      new Map([
        [all.old, all.guardrail],
        [now, all.guardrail],
      ]),
    );
    expect(all.server.credentials.get(all.alone.id)?.allowedKeys).toEqual([all.old, now]);
    expect(await rowOf(all)).toMatchObject({ restrictions: { guardrails: [all.guardrail], byok: [all.alone.id] } });
    pass(HOUR);
    await finish(all);
    expect(all.server.guardrails()).toEqual(new Map([[now, all.guardrail]]));
    expect(all.server.credentials.get(all.alone.id)?.allowedKeys).toEqual([now]);
  });

  it("are those of its row where the old key is deleted", async () => {
    const all = await restricted();
    const { keyHash } = await rotate(all, { graceMs: 0 });
    all.server.removeKey(keyHash ?? "");
    const { keyHash: next, restrictions } = await rotate(all, { graceMs: 0 });
    expect(restrictions).toEqual({ guardrail: "carried", allowLists: 1 });
    expect(all.server.guardrails().get(next ?? "")).toBe(all.guardrail);
  });

  it("are unknown where the management key may not see them, which is said", async () => {
    const all = await restricted();
    all.server.behave(({ route }) => (route.includes("guardrails") ? { kind: "status", status: 403 } : "pass"));
    const { restrictions, warnings, error } = await rotate(all);
    expect([restrictions?.guardrail, error]).toEqual(["unknown", null]);
    expect(warnings.map(({ code }) => code)).toContain("RESTRICTIONS_UNKNOWN");
  });
});

describe("a rotation that fails", () => {
  it("leaves the old key untouched where the new one is not accepted", { timeout: 90_000 }, async () => {
    const all = await provisioned();
    const old = await hashOf(all);
    all.server.configure({ newKeyLimit: 3 });
    const { key, error } = await rotate(all);
    expect([key, error?.code]).toEqual([null, "NEW_KEY_REFUSED"]);
    expect([...all.server.keys.keys()]).toEqual([old]);
    expect(await rowOf(all)).toMatchObject({ keyHash: old, settled: true });
    expect(await journalOf(all.home)).toEqual(["op:1", "op:2", "out:1 saved", "out:2 abandoned"]);
  });

  it.each([
    ["an absent key", async () => stage(), {}, "NO_KEY"],
    [
      "a key that keyctl did not create",
      async () => {
        const all = await stage();
        await all.given("save --user alice --stdin", { input: KEY });
        return all;
      },
      {},
      "FOREIGN_KEY",
    ],
    [
      "a disabled key",
      async () => {
        const all = await provisioned();
        const key = all.server.keys.get(await hashOf(all));
        if (key !== undefined) key.disabled = true;
        return all;
      },
      {},
      "KEY_INVALID",
    ],
    ["a foreign key that is to be removed after a grace", async () => stage(), { foreign: "revoke" }, "USAGE"],
    ["a grace of 31 days", async () => stage(), { graceMs: 31 * DAY }, "USAGE"],
  ] as const)("changes nothing for %s", async (_, given, options, code) => {
    const all = await given();
    const { key, error } = await rotate(all, options);
    expect([key, error?.code]).toEqual([null, code]);
    expect(all.server.requests.filter(({ route, method }) => method === "POST" && route === "POST /keys").length).toBe(
      code === "KEY_INVALID" ? 1 : 0,
    );
  });

  it("is a conflict for the one of two who loses, and makes one new key", async () => {
    const all = await provisioned();
    const results = await asLibrary(all.home, all.env, (one) =>
      asLibrary(all.home, all.env, async (other) => Promise.all([one.rotate("alice"), other.rotate("alice")])),
    );
    expect(results.filter(({ error }) => error === null)).toHaveLength(1);
    expect(results.find(({ error }) => error !== null)?.error?.code).toBe("CONFLICT");
    expect(all.server.keys.size).toBe(2);
  });
});

describe("an expired, deleted or foreign key", () => {
  it("is rotated when it is expired", async () => {
    const all = await provisioned();
    pass(91 * DAY);
    expect(await rotate(all, { graceMs: 0 })).toMatchObject({ error: null, expiresAt: "2027-05-24T12:00:00.000Z" });
  });

  it("is rotated when it is deleted, with the terms of its row", async () => {
    const all = await provisioned();
    all.server.removeKey(await hashOf(all));
    expect(await rotate(all)).toMatchObject({ error: null, limit: 10, limitNow: 10, limitReset: "monthly" });
  });

  it("is left alive when keyctl did not create it, or removed on request", async () => {
    for (const [foreign, revocation] of [
      ["keep", "not_ours"],
      ["revoke", "done"],
    ] as const) {
      const all = await stage();
      const { hash } = all.server.addKey(KEY, { limit: 7 });
      await all.given("save --user alice --stdin", { input: KEY });
      const result = await rotate(all, { foreign, graceMs: 0 });
      expect(result).toMatchObject({ limit: 7, generation: 1, previous: { revocation }, error: null });
      expect(all.server.keys.has(hash)).toBe(foreign === "keep");
    }
  });
});

it("a key in its grace is not saved again: it would be removed while it is in use", async () => {
  const all = await provisioned();
  const old = await asLibrary(all.home, all.env, async (manager) =>
    (await manager.getStoredKey("alice")).key?.reveal(),
  );
  await rotate(all);
  const { code, stderr } = await all.run("save --user alice --stdin --replace", { input: old ?? "" });
  expect([code, stderr.includes("replaced it; it is deleted at OpenRouter at 2026-11-24T12:10:00.000Z")]).toEqual([
    8,
    true,
  ]);
});

it("a purge with --revoke ends a grace", async () => {
  const all = await provisioned();
  await rotate(all);
  await all.given("purge --user alice --revoke --yes");
  expect(all.server.keys.size).toBe(0);
});

it("reconcile within a grace has nothing to say, and finishes it afterwards", async () => {
  const all = await provisioned();
  const { keyHash } = await rotate(all);
  expect((await all.run("reconcile --json")).code).toBe(0);
  pass(HOUR / 2);
  expect((await all.run("reconcile --fix --json")).code).toBe(0);
  expect([...all.server.keys.keys()]).toEqual([keyHash]);
});

it("a rotation without a store says that there is no key, and writes nothing", async () => {
  const { run, server, home } = await stage();
  const { code, stderr } = await run("rotate --user alice");
  expect([code, stderr]).toEqual([3, expect.stringContaining("error: no key is stored for user alice")]);
  expect([server.keys.size, existsSync(home.database)]).toEqual([0, false]);
});
