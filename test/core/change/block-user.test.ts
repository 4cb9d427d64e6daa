import { describe, expect, it } from "vitest";
import type { Ports } from "../../../src/compose.ts";
import { KeyctlError } from "../../../src/core/model/errors.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { journalOf, note, stage, withCalls, withStore } from "../../support/home/tool-with-openrouter.ts";
import type { Stage } from "../../support/home/tool-with-openrouter.ts";
import { managerOfTest } from "../../support/memory/manager.ts";
import { madeKeys } from "../../support/openrouter/made-keys.ts";
import { hashOf, KEY, OTHER } from "../../support/fixtures/keys.ts";

const ALICE = parseUserId("alice");

async function manager(all: Stage, env: Readonly<Record<string, string>> = {}, around?: (ports: Ports) => Ports) {
  return managerOfTest(all.home, { ...all.env, ...env }, around);
}

function rowIn({ home }: Stage) {
  return withStore(home, (store, signal) => store.find(ALICE, signal));
}

async function block(all: Stage, options: { readonly revoke?: "ours" } = {}): Promise<void> {
  const { error } = await (await manager(all)).block("alice", { ...options, reason: "has left" });
  expect(error).toBeNull();
}

async function* batchOf(...users: readonly string[]) {
  yield users.map(parseUserId);
}

const BLOCKED = { error: { code: "USER_BLOCKED" } };

describe("a blocked user", () => {
  it.each([
    ["a key in key.txt", {}],
    ["a key in the environment", { OPENROUTER_API_KEY: KEY }],
  ])("gets no key from %s, and none is created", async (_, env) => {
    const all = await stage();
    if (!("OPENROUTER_API_KEY" in env)) all.home.writeKeyFile(KEY);
    await block(all);
    const keys = await manager(all, env);
    const results = [
      await keys.syncAndGetKey("alice"),
      await keys.getStoredKey("alice"),
      await keys.autoProvisionKey("alice"),
      await keys.save("alice", OTHER),
      await keys.save("alice", OTHER, { replace: "any" }),
      await keys.rotate("alice"),
      await keys.validate("alice"),
      await keys.ensureKeyForUser("alice"),
      await keys.explain("alice"),
    ];
    for (const result of results) expect(result).toMatchObject(BLOCKED);
    expect(madeKeys(all.server)).toEqual([]);
    expect(await rowIn(all)).toMatchObject({ blocked: { reason: "has left" } });
  });

  it("is the error of one user among many, and is left out where all keys are meant", async () => {
    const all = await stage();
    await all.given("provision --user alice");
    await all.given("provision --user bob");
    await block(all);
    const keys = await manager(all);
    const codes = new Map<string, string | null>();
    for await (const results of keys.syncMany(batchOf("alice", "bob"), { provision: true })) {
      for (const { userId, error } of results) codes.set(userId, error?.code ?? null);
    }
    expect([...codes]).toEqual([
      ["alice", "USER_BLOCKED"],
      ["bob", null],
    ]);
    const listed: string[] = [];
    for await (const { userId } of keys.rows()) listed.push(userId);
    expect(listed).toEqual(["bob"]);
    expect(await keys.count()).toBe(1);
    const blocked: string[] = [];
    for await (const { userId } of keys.blockedUsers()) blocked.push(userId);
    expect(blocked).toEqual(["alice"]);
  });

  it("stays blocked when blocked again, and when purged", async () => {
    const all = await stage();
    await block(all);
    const before = await rowIn(all);
    expect(await (await manager(all)).block("alice")).toMatchObject({ purged: false, blocked: true, error: null });
    expect(await (await manager(all)).purge("alice", { revoke: "ours" })).toMatchObject({
      purged: false,
      blocked: true,
    });
    expect(await rowIn(all)).toEqual(before);
  });

  it("gets a key again after an unblock, of a new generation", async () => {
    const all = await stage();
    await all.given("provision --user alice");
    await block(all, { revoke: "ours" });
    expect(madeKeys(all.server)).toEqual([]);
    const keys = await manager(all);
    expect(await keys.unblock("alice")).toMatchObject({ unblocked: true, warnings: [], error: null });
    expect(await rowIn(all)).toBeUndefined();
    expect(await keys.unblock("alice")).toMatchObject({ unblocked: false, error: null });
    const { key } = await keys.syncAndGetKey("alice");
    expect(key?.hash).toBe(madeKeys(all.server)[0]);
    expect(await journalOf(all.home)).toContain("op:2");
  });

  it("keeps a key of theirs that another command still has to store out, and it is deleted", async () => {
    const all = await stage();
    await expectLost(
      all,
      await manager(
        all,
        {},
        interrupting("insert", () => block(all)),
      ),
      "syncAndGetKey",
    );
    expect(await journalOf(all.home)).toEqual(["op:1", "out:1 abandoned"]);
  });
});

/** One call of the store, with `meanwhile` before its first one. */
function interrupting(call: "insert" | "replace", meanwhile: () => Promise<unknown>): (ports: Ports) => Ports {
  let done: Promise<unknown> | undefined;
  const first = () => (done ??= meanwhile());
  return withCalls((store) =>
    call === "insert"
      ? {
          async insert(row, signal) {
            await first();
            return store.insert(row, signal);
          },
        }
      : {
          async replace(row, seen, signal) {
            await first();
            return store.replace(row, seen, signal);
          },
        },
  );
}

/** The command ends with USER_BLOCKED, and no key of the user is left anywhere. */
async function expectLost(
  all: Stage,
  keys: Awaited<ReturnType<typeof manager>>,
  command: "syncAndGetKey" | "autoProvisionKey" | "rotate",
): Promise<void> {
  expect(await keys[command]("alice")).toMatchObject({ key: null, ...BLOCKED });
  expect(madeKeys(all.server)).toEqual([]);
  expect(await rowIn(all)).toMatchObject({ blocked: { reason: "has left" } });
}

describe("a purge with a block, at the moment in which another command stores a key", () => {
  it("wins over the environment", async () => {
    const all = await stage();
    const keys = await manager(
      all,
      { OPENROUTER_API_KEY: KEY },
      interrupting("insert", () => block(all)),
    );
    await expectLost(all, keys, "syncAndGetKey");
  });

  it.each(["syncAndGetKey", "autoProvisionKey"] as const)("wins over a key that was created (%s)", async (command) => {
    const all = await stage();
    await expectLost(
      all,
      await manager(
        all,
        {},
        interrupting("insert", () => block(all)),
      ),
      command,
    );
  });

  it("wins after the row was stored, before its outcome was recorded", async () => {
    const all = await stage();
    const around = withCalls((store) => ({
      async insertEntry(entry, signal) {
        if (entry.kind === "out") await block(all, { revoke: "ours" });
        return store.insertEntry(entry, signal);
      },
    }));
    await expectLost(all, await manager(all, {}, around), "syncAndGetKey");
  });

  it("wins after the outcome was recorded, before the key is handed out", async () => {
    const all = await stage();
    await expectLost(
      all,
      await manager(
        all,
        {},
        interrupting("replace", () => block(all, { revoke: "ours" })),
      ),
      "syncAndGetKey",
    );
  });

  it("wins over a save of another key", async () => {
    const all = await stage();
    await all.given("save --user alice --stdin", { input: KEY });
    const keys = await manager(
      all,
      {},
      interrupting("replace", () => block(all)),
    );
    expect(await keys.saveKeyToDb("alice", OTHER)).toMatchObject(BLOCKED);
    expect(await rowIn(all)).toMatchObject({ blocked: {} });
  });

  it("wins over a rotation, whose new key is removed", async () => {
    const all = await stage();
    await all.given("provision --user alice");
    const keys = await manager(
      all,
      {},
      interrupting("replace", () => block(all, { revoke: "ours" })),
    );
    const result = await keys.rotate("alice");
    expect(["USER_BLOCKED", "CONFLICT"]).toContain(result.error?.code);
    expect(result.key).toBeNull();
    expect(madeKeys(all.server)).toEqual([]);
  });

  it("wins after the commit of a rotation, and its key is not handed out", async () => {
    const all = await stage();
    await all.given("provision --user alice");
    let replaced = 0;
    const around = withCalls((store) => ({
      async replace(row, seen, signal) {
        replaced += 1;
        if (replaced === 2) await block(all, { revoke: "ours" });
        return store.replace(row, seen, signal);
      },
    }));
    const result = await (await manager(all, {}, around)).rotate("alice");
    expect(result).toMatchObject({ key: null, ...BLOCKED });
    expect(madeKeys(all.server)).toEqual([]);
  });
});

/** An unsettled row of a sync that died before it recorded the outcome. */
async function unsettled(): Promise<Stage> {
  const all = await stage();
  const dying = withCalls((store) => ({
    async insertEntry(entry, signal) {
      if (entry.kind === "out") throw new Error("it has died");
      return store.insertEntry(entry, signal);
    },
  }));
  await expect((await manager(all, {}, dying)).syncAndGetKey("alice")).rejects.toThrow("it has died");
  expect(await rowIn(all)).toMatchObject({ generation: 1, settled: false });
  return all;
}

/** With `meanwhile` after the outcome of the row was read. */
const afterOutcome = (meanwhile: () => Promise<unknown>) =>
  withCalls((store) => ({
    async entry(user, kind, n, signal) {
      const entry = await store.entry(user, kind, n, signal);
      if (kind === "out" && entry === undefined) await meanwhile();
      return entry;
    },
  }));

describe("an insert whose answer is lost, with a block in its place when it is read back", () => {
  const lost = new KeyctlError("STORE_UNAVAILABLE", "the answer was lost", { mayHaveHappened: true });
  const losing = (all: Stage) =>
    withCalls((store) => ({
      async insert(row, signal) {
        await store.insert(row, signal);
        await block(all);
        throw lost;
      },
      async insertMany(rows, signal) {
        await store.insertMany(rows, signal);
        await block(all);
        throw lost;
      },
    }));

  it("is not taken for the row of the key: nothing is handed out", async () => {
    const all = await stage();
    const keys = await manager(all, { OPENROUTER_API_KEY: KEY }, losing(all));
    expect(await keys.syncAndGetKey("alice")).toMatchObject({ key: null, ...BLOCKED });
  });

  it("is not told as a save", async () => {
    const all = await stage();
    expect(await (await manager(all, {}, losing(all))).saveKeyToDb("alice", KEY)).toMatchObject(BLOCKED);
  });

  it("is the error of its user among many", async () => {
    const all = await stage();
    const keys = await manager(all, { OPENROUTER_API_KEY: KEY }, losing(all));
    for await (const [result] of keys.syncMany(batchOf("alice")))
      expect(result).toMatchObject({ key: null, ...BLOCKED });
  });
});

describe("a block", () => {
  it("is about the user, whatever key is there by now", async () => {
    const all = await stage();
    await all.given("provision --user alice");
    const keys = await manager(all);
    expect(await keys.purge("alice", { onlyHash: hashOf(KEY), block: true })).toMatchObject({
      blocked: true,
      error: null,
    });
    expect(await rowIn(all)).toMatchObject({ blocked: {} });
  });
});

describe("a rotation that cannot look at its key once more", () => {
  it("hands out no key, and says that the new one is in use", async () => {
    const all = await stage();
    await all.given("provision --user alice");
    let isCommitted = false;
    const away = new KeyctlError("STORE_UNAVAILABLE", "it went away");
    const around = withCalls((store) => ({
      async insertEntry(entry, signal) {
        isCommitted ||= entry.kind === "out";
        return store.insertEntry(entry, signal);
      },
      async find(user, signal) {
        if (isCommitted) throw away;
        return store.find(user, signal);
      },
    }));
    const result = await (await manager(all, {}, around)).rotate("alice", { graceMs: 0 });
    expect(result).toMatchObject({ key: null, error: { code: "STORE_UNAVAILABLE", mayHaveHappened: true } });
    expect(result.error?.message).toContain("was rotated");
  });
});

describe("a key is handed out only by an access that saw it in its row", () => {
  it("not the key that was purged after a command had read it", async () => {
    const all = await unsettled();
    const purge = async () => (await manager(all)).purge("alice", { revoke: "ours" });
    const keys = await manager(all, { KEYCTL_AUTO_PROVISION: "0" }, afterOutcome(purge));
    expect(await keys.syncAndGetKey("alice")).toMatchObject({ key: null, error: { code: "NO_KEY" } });
  });

  it.each(["syncAndGetKey", "getStoredKey"] as const)(
    "not that of a user who was blocked since (%s)",
    async (command) => {
      const all = await unsettled();
      const keys = await manager(
        all,
        {},
        afterOutcome(() => block(all)),
      );
      expect(await keys[command]("alice")).toMatchObject({ key: null, ...BLOCKED });
    },
  );

  it("but the one that took its place", async () => {
    const all = await unsettled();
    const replace = async () => (await manager(all)).saveKeyToDb("alice", OTHER);
    const { key } = await (await manager(all, {}, afterOutcome(replace))).syncAndGetKey("alice");
    expect(key?.reveal()).toBe(OTHER);
  });

  it("and the one whose row another command has settled meanwhile", async () => {
    const all = await stage();
    const settle = async () => (await manager(all)).syncAndGetKey("alice");
    const result = await (await manager(all, {}, interrupting("replace", settle))).syncAndGetKey("alice");
    expect(result).toMatchObject({ source: "auto-provisioned", error: null });
    expect(madeKeys(all.server)).toEqual([result.keyHash]);
  });
});

async function fix(all: Stage): Promise<void> {
  const found = await (await manager(all)).reconcile({ fixes: true });
  for await (const { error } of found.plan()) expect(error).toBeNull();
  for await (const { error } of found.fix()) expect(error).toBeNull();
}

async function died(): Promise<Stage> {
  const all = await stage();
  await all.given("provision --user alice");
  await note(all.home, "alice", { kind: "rev", n: 1, reason: "purged", revoke: true, block: true });
  return all;
}

describe("a purge with a block that died before it changed the row", () => {
  it("is finished with its block by reconcile", async () => {
    const all = await died();
    await fix(all);
    expect(await rowIn(all)).toMatchObject({ blocked: { reason: null } });
    expect(madeKeys(all.server)).toEqual([]);
  });

  it("is finished with its block by the next purge, with or without one", async () => {
    const all = await died();
    expect(await (await manager(all)).purge("alice", { revoke: "ours" })).toMatchObject({
      purged: true,
      blocked: true,
    });
    expect(await rowIn(all)).toMatchObject({ blocked: {} });
  });

  it("is finished without its block by an unblock, and nobody is blocked afterwards", async () => {
    const all = await died();
    expect(await (await manager(all)).unblock("alice")).toMatchObject({
      unblocked: true,
      warnings: [{ code: "PURGE_FINISHED" }],
    });
    await fix(all);
    expect(await rowIn(all)).toBeUndefined();
    expect(madeKeys(all.server)).toEqual([]);
    expect(await (await manager(all)).syncAndGetKey("alice")).toMatchObject({ error: null });
  });
});

describe("an unblock", () => {
  it("leaves a key that took the place of the block which it had read", async () => {
    const all = await stage();
    await block(all);
    const lifted = async () => {
      const keys = await manager(all);
      await keys.unblock("alice");
      await keys.saveKeyToDb("alice", OTHER);
    };
    let first: Promise<void> | undefined;
    const around = withCalls((store) => ({
      async remove(user, seen, signal) {
        await (first ??= lifted());
        return store.remove(user, seen, signal);
      },
    }));
    expect(await (await manager(all, {}, around)).unblock("alice")).toMatchObject({ unblocked: false, error: null });
    expect(await rowIn(all)).toMatchObject({ keyHash: hashOf(OTHER) });
  });

  it("leaves the key of a user who is not blocked", async () => {
    const all = await stage();
    await all.given("provision --user alice");
    const before = await rowIn(all);
    expect(await (await manager(all)).unblock("alice")).toMatchObject({ unblocked: false, error: null });
    expect(await rowIn(all)).toEqual(before);
  });
});
