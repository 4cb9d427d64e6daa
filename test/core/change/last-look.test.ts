import { describe, expect, it } from "vitest";
import type { Ports } from "../../../src/compose.ts";
import { isTombstone } from "../../../src/core/model/tombstone.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { MADE } from "../../support/fixtures/keys.ts";
import { journalOf, note, stage, withCalls, withStore } from "../../support/home/tool-with-openrouter.ts";
import type { Stage } from "../../support/home/tool-with-openrouter.ts";
import { managerOfTest } from "../../support/memory/manager.ts";

const ALICE = parseUserId("alice");
const BLOCKED = { key: null, error: { code: "USER_BLOCKED" } };

async function provisioned(): Promise<Stage> {
  const all = await stage({ newKey: () => MADE });
  await all.given("provision --user alice");
  return all;
}

function manager({ home, env }: Stage, more: Readonly<Record<string, string>> = {}, around?: (ports: Ports) => Ports) {
  return managerOfTest(home, { ...env, ...more }, around);
}

function rowIn({ home }: Stage) {
  return withStore(home, (store, signal) => store.find(ALICE, signal));
}

async function block(all: Stage): Promise<void> {
  expect((await (await manager(all)).block("alice")).error).toBeNull();
}

describe("a key that a purge with a block took meanwhile is not handed out", () => {
  it("by a rotation that has removed the old key after it settled its row", async () => {
    const all = await provisioned();
    const around = withCalls((store) => ({
      async replace(row, seen, signal) {
        const isDone = await store.replace(row, seen, signal);
        if (!isTombstone(row) && row.generation === 2 && row.settled) await block(all);
        return isDone;
      },
    }));
    expect(await (await manager(all, {}, around)).rotate("alice", { graceMs: 0 })).toMatchObject(BLOCKED);
  });

  it("by a rotation that has waited until the old key was removed", async () => {
    const all = await provisioned();
    const around = withCalls((store) => ({
      async insertEntry(entry, signal) {
        const isDone = await store.insertEntry(entry, signal);
        if (entry.kind === "del") await block(all);
        return isDone;
      },
    }));
    const { previous, ...rotated } = await (await manager(all, {}, around)).rotate("alice", { graceMs: 1, wait: true });
    expect(rotated).toMatchObject(BLOCKED);
    expect(previous).toBeNull();
  });

  it("by a renewal that has found out that the key works", async () => {
    const all = await provisioned();
    const around = (ports: Ports): Ports => ({
      ...ports,
      openRouter: {
        ...ports.openRouter,
        async open() {
          const asked = await ports.openRouter.open();
          return {
            ...asked,
            async checkKey(...words) {
              const check = await asked.checkKey(...words);
              await block(all);
              return check;
            },
          };
        },
      },
    });
    expect(await (await manager(all, {}, around)).renew("alice")).toMatchObject(BLOCKED);
  });

  it("by a sync that has looked up a created key again after it stored it", async () => {
    const all = await provisioned();
    await all.given("purge --user alice --yes");
    const around = withCalls((store) => ({
      async insert(row, signal) {
        const isDone = await store.insert(row, signal);
        await block(all);
        return isDone;
      },
    }));
    const keys = await manager(all, { OPENROUTER_API_KEY: MADE }, around);
    expect(await keys.syncAndGetKey("alice")).toMatchObject(BLOCKED);
  });

  it("by a sync of many users that has looked up a created key again after it stored it", async () => {
    const all = await provisioned();
    await all.given("purge --user alice --yes");
    const around = withCalls((store) => ({
      async insertMany(rows, signal) {
        const won = await store.insertMany(rows, signal);
        await block(all);
        return won;
      },
    }));
    const keys = await manager(all, { OPENROUTER_API_KEY: MADE }, around);
    const codes = new Map<string, string | null>();
    for await (const results of keys.syncMany(aliceAndBob())) {
      for (const { userId, error } of results) codes.set(userId, error?.code ?? null);
    }
    expect(Object.fromEntries(codes)).toEqual({ alice: "USER_BLOCKED", bob: null });
  });
});

describe("a purge with a block that died before it changed the row", () => {
  const notAtomic = withCalls(() => ({ hasAtomicChanges: async () => false }));

  it.each(["reconcile --fix", "purge --user alice --yes"])("is finished with its tombstone by %s", async (command) => {
    const all = await provisioned();
    await dieInPurge(all);
    await all.given(command);
    expect(await rowIn(all)).toMatchObject({ blocked: { reason: null } });
  });

  it.each(["reconcile --fix", "purge --user alice --yes"])(
    "is finished without its tombstone by %s, where a row is not changed atomically: an unblock may have found no row",
    async (command) => {
      const all = await provisioned();
      await dieInPurge(all);
      await all.given(command, { around: notAtomic });
      expect(await rowIn(all)).toBeUndefined();
      expect(await journalOf(all.home)).toContain("rev:1 purged");
    },
  );
});

function dieInPurge({ home }: Stage): Promise<void> {
  return note(home, "alice", { kind: "rev", n: 1, reason: "purged", revoke: false, block: true });
}

async function* aliceAndBob() {
  yield [ALICE, parseUserId("bob")];
}
