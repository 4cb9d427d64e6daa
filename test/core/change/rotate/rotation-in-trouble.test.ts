import { isTombstone } from "../../../../src/core/model/tombstone.ts";
import { describe, expect, it } from "vitest";
import { pass, standStill } from "../../../support/fixtures/date-of-test.ts";
import type { Ports } from "../../../../src/compose.ts";
import type { RotateOptions } from "../../../../src/core/manager/manager-options.ts";
import { KeyctlError } from "../../../../src/core/model/errors.ts";
import type { KeyRecord } from "../../../../src/core/model/key-record.ts";
import type { Recorded } from "../../../../src/core/ports/journal.ts";
import type { Duty } from "../../../../src/core/model/rotate-results.ts";
import { findKey } from "../../../../src/core/protocol/find-key.ts";
import { parseUserId } from "../../../../src/core/model/user-id.ts";
import { journalOf, note, stage, withCalls, withStore } from "../../../support/home/tool-with-openrouter.ts";
import type { Stage } from "../../../support/home/tool-with-openrouter.ts";
import { managerOfTest } from "../../../support/memory/manager.ts";
import { always } from "../../../support/openrouter/faults.ts";
import type { MockOptions } from "../../../support/openrouter/server.ts";
import { KEY, OTHER } from "../../../support/fixtures/keys.ts";

const ALICE = parseUserId("alice");
const DAY = 86_400_000;
const LOST = new KeyctlError("STORE_UNAVAILABLE", "the answer was lost", { mayHaveHappened: true });
const AWAY = new KeyctlError("STORE_UNAVAILABLE", "it went away");
const MONTHLY = "--limit 10 --limit-reset monthly";

standStill();

async function provisioned(options: MockOptions = {}, flags = MONTHLY) {
  const all = await stage(options);
  await all.given(`provision --user alice ${flags}`.trim());
  return { ...all, old: (await rowOf(all))?.keyHash ?? "none" };
}

async function rotate(all: Stage, options: RotateOptions = {}, around?: (ports: Ports) => Ports) {
  return (await managerOfTest(all.home, all.env, around)).rotate("alice", options);
}

async function finish(all: Stage, around?: (ports: Ports) => Ports): Promise<readonly Duty[]> {
  const duties: Duty[] = [];
  for await (const duty of (await managerOfTest(all.home, all.env, around)).finishDue()) duties.push(duty);
  return duties;
}

function rowOf({ home }: Pick<Stage, "home">) {
  return withStore(home, (store, signal) => findKey(store, ALICE, signal));
}

/** Replaces the row as another program does that knows these fields. */
function overwrite({ home }: Stage, change: (row: KeyRecord) => KeyRecord) {
  return withStore(home, async (store, signal) => {
    const row = await findKey(store, ALICE, signal);
    if (row !== undefined) await store.replace(change(row), row, signal);
  });
}

const inPlainText = (text: string) => (row: KeyRecord) => ({ ...row, keyEncrypted: text, keyHash: null });

/** The answer of STORE ROW is lost, after `meanwhile`. */
function losingPlacement(meanwhile: () => Promise<unknown>) {
  return withCalls((store) => ({
    async replace(record, seen, signal) {
      const isDone = await store.replace(record, seen, signal);
      if (isTombstone(record) || record.settled || record.previous === null) return isDone;
      await meanwhile();
      throw LOST;
    },
  }));
}

/** The first insert of the saved outcome of generation 2 fails, after `meanwhile`. */
function losingCommit(meanwhile: () => Promise<unknown>) {
  let isFirst = true;
  return withCalls((store) => ({
    async insertEntry(entry: Recorded, signal: AbortSignal) {
      const isCommit = entry.kind === "out" && entry.n === 2 && entry.outcome === "saved";
      if (!isCommit || !isFirst) return store.insertEntry(entry, signal);
      isFirst = false;
      await meanwhile();
      throw AWAY;
    },
  }));
}

describe("a rotation that another command helps", () => {
  it("keeps its grace where the row was settled before the answer to its write was lost", async () => {
    const all = await provisioned();
    const { previous, error } = await rotate(
      all,
      {},
      losingPlacement(async () => {
        await all.given("reconcile --fix --json");
        expect(await rowOf(all)).toMatchObject({ settled: true, previous: null });
      }),
    );
    expect([previous?.revocation, previous?.revokeAt, error]).toEqual(["scheduled", "2026-11-24T12:10:00.000Z", null]);
    expect(all.server.keys.get(all.old)).toMatchObject({ disabled: false });
  });

  it("is done where its outcome was recorded before its own insert failed", async () => {
    const all = await provisioned();
    const helper = await managerOfTest(all.home, all.env);
    const result = await rotate(
      all,
      {},
      losingCommit(() => helper.syncAndGetKey("alice")),
    );
    expect([result.error, result.previous?.revocation]).toEqual([null, "scheduled"]);
    expect((await rowOf(all))?.keyHash).toBe(result.keyHash);
    expect(new Set(all.server.keys.keys())).toEqual(new Set([all.old, result.keyHash]));
  });
});

describe("a rotation whose database fails", () => {
  it("is undone where the outcome could not be recorded", async () => {
    const all = await provisioned();
    const { key, error } = await rotate(
      all,
      {},
      losingCommit(async () => {}),
    );
    expect([key, error?.code]).toEqual([null, "STORE_UNAVAILABLE"]);
    expect(await rowOf(all)).toMatchObject({ keyHash: all.old, settled: true, generation: 1 });
    expect([...all.server.keys.keys()]).toEqual([all.old]);
  });

  it("leaves the old key in use where the database goes away after the creation", async () => {
    const all = await provisioned();
    const { error } = await rotate(
      all,
      {},
      withCalls((store) => ({
        async replace() {
          throw AWAY;
        },
        async insertEntry(entry: Recorded, signal: AbortSignal) {
          if (entry.kind === "out") throw AWAY;
          return store.insertEntry(entry, signal);
        },
      })),
    );
    expect([error?.code, error?.message.includes("the new key may still exist")]).toEqual(["STORE_UNAVAILABLE", true]);
    expect(await rowOf(all)).toMatchObject({ keyHash: all.old, settled: true });
    pass(120_000);
    await all.given("reconcile --fix --confirm 1 --json");
    expect([...all.server.keys.keys()]).toEqual([all.old]);
  });

  it("does not remove the old key at the end of the grace if the row of the new one is lost", async () => {
    const all = await provisioned();
    const { error } = await rotate(
      all,
      {},
      withCalls((store) => ({
        async replace(record, seen, signal) {
          if (isTombstone(record) || record.settled || record.previous === null)
            return store.replace(record, seen, signal);
          throw LOST;
        },
      })),
    );
    expect(error?.code).toBe("CONFLICT");
    pass(DAY);
    expect(await finish(all)).toEqual([]);
    expect(await rowOf(all)).toMatchObject({ keyHash: all.old });
    expect([...all.server.keys.keys()]).toEqual([all.old]);
  });
});

describe("a rotation whose caller stops waiting", () => {
  it.each(["GET /key", "PATCH /keys/{hash}", "DELETE /keys/{hash}"] as const)(
    "at its first %s leaves exactly one key in use, and says which",
    async (route) => {
      const stop = new AbortController();
      let isArmed = false;
      const all = await provisioned({
        onRequest(request) {
          if (isArmed && request.route === route) stop.abort(new Error("SIGINT"));
        },
      });
      isArmed = true;
      const { key, keyHash, previous, error } = await rotate(all, { graceMs: 0, signal: stop.signal });
      isArmed = false;
      const current = (await rowOf(all))?.keyHash;
      if (error?.code === "INTERRUPTED") {
        expect([key, current, [...all.server.keys.keys()]]).toEqual([null, all.old, [all.old]]);
        return;
      }
      expect([previous?.revocation, error?.code]).toEqual(["pending", "REVOKE_PENDING"]);
      expect(current).toBe(keyHash);
      await all.run("reconcile --fix --json");
      expect([...all.server.keys.keys()]).toEqual([keyHash]);
    },
  );
});

describe("the budget", () => {
  it("of a deleted key is no more than it had", async () => {
    const all = await provisioned();
    all.server.spend(all.old, 6.8);
    const { keyHash } = await rotate(all, { graceMs: 0 });
    all.server.removeKey(keyHash ?? "");
    const { limit, limitNow, limitRestoreAt } = await rotate(all, { graceMs: 0 });
    expect([limit, limitNow, limitRestoreAt]).toEqual([10, 3.2, "2026-12-01T00:05:00.000Z"]);
  });

  it("is said to be doubled by a grace, even where nothing is left of it", async () => {
    const all = await provisioned();
    all.server.spend(all.old, 10);
    const { limitNow, warnings } = await rotate(all);
    expect([limitNow, warnings.map(({ code }) => code)]).toEqual([0, ["GRACE_DOUBLES_BUDGET"]]);
  });

  it("counts the spending of the user's own provider keys where the old one did", async () => {
    const all = await provisioned();
    const key = all.server.keys.get(all.old);
    if (key !== undefined) key.includeByokInLimit = true;
    const { keyHash } = await rotate(all);
    expect(all.server.keys.get(keyHash ?? "")?.includeByokInLimit).toBe(true);
  });

  it("is not restored for a key that another program has put into the row", async () => {
    const all = await provisioned();
    all.server.spend(all.old, 6.8);
    const { keyHash } = await rotate(all, { graceMs: 0 });
    all.server.addKey(KEY, { limit: 1 });
    const { keyHash: theirs } = (await (await managerOfTest(all.home, all.env)).save("bob", KEY)) ?? {};
    await overwrite(all, (row) => ({ ...row, keyHash: theirs ?? null }));
    pass(8 * DAY);
    await finish(all);
    expect(all.server.keys.get(theirs ?? "")?.limit).toBe(1);
    expect(all.server.keys.get(keyHash ?? "")?.limit).toBe(3.2);
    expect((await rowOf(all))?.limitDue).toBe(null);
    expect(await (await managerOfTest(all.home, all.env)).dueDuties()).toMatchObject({ limits: 0 });
  });
});

describe("what an earlier rotation knew of restrictions", () => {
  it("stays in the row where the management key may not see them any more", async () => {
    const all = await provisioned();
    const guardrail = all.server.addGuardrail();
    all.server.assignGuardrail(guardrail, all.old);
    await rotate(all, { graceMs: 0 });
    all.server.behave(({ route }) => (route.includes("guardrails") ? { status: 403 } : "pass"));
    const { restrictions, error } = await rotate(all, { graceMs: 0 });
    expect([restrictions?.guardrail, error]).toEqual(["unknown", null]);
    expect((await rowOf(all))?.restrictions).toEqual({ guardrails: [guardrail], byok: [] });
  });

  it("is not made up where nothing was ever seen", async () => {
    const all = await provisioned();
    all.server.behave(({ route }) => (/guardrails|byok/.test(route) ? { status: 404 } : "pass"));
    const { restrictions } = await rotate(all, { graceMs: 0 });
    expect([restrictions, (await rowOf(all))?.restrictions]).toEqual([
      { guardrail: "unknown", allowLists: null },
      null,
    ]);
  });
});

describe("a rotation that OpenRouter does not let begin", () => {
  it.each([
    ["the listing of guardrails answers 500 throughout", "GET /guardrails/assignments/keys"],
    ["the listing of provider keys answers 500 throughout", "GET /byok"],
    ["the old key cannot be read", "GET /keys/{hash}"],
  ] as const)(
    "changes nothing where %s",
    async (_, route) => {
      const all = await provisioned();
      all.server.behave(always(route, { status: 500 }));
      const { key, error } = await rotate(all, { timeoutMs: 2_000 });
      expect([key, error?.code]).toEqual([null, "PROVIDER_UNAVAILABLE"]);
      expect([...all.server.keys.keys()]).toEqual([all.old]);
      expect(await journalOf(all.home)).toEqual(["op:1", "out:1 saved"]);
    },
    30_000,
  );

  it("drops no reset that it does not know", async () => {
    const all = await provisioned();
    all.server.spend(all.old, 1);
    // A period that OpenRouter may add.
    const key = all.server.keys.get(all.old);
    if (key !== undefined) Object.assign(key, { limitReset: "yearly" });
    const { error } = await rotate(all);
    expect([error?.code, all.server.keys.size]).toEqual(["PROVIDER_UNAVAILABLE", 1]);
  });
});

describe("keys whose id at OpenRouter is not their SHA-256", () => {
  const elsewhere = { hashOf: (text: string) => `${"f".repeat(56)}${text.slice(-8)}` };

  it("are rotated, retired and restored by that id", async () => {
    const all = await provisioned(elsewhere);
    const [oldId = ""] = [...all.server.keys.keys()];
    all.server.spend(oldId, 4);
    expect(await rotate(all)).toMatchObject({ limitNow: 6, previous: { revocation: "scheduled" }, error: null });
    pass(8 * DAY);
    expect((await finish(all)).map(({ kind, done }) => [kind, done])).toEqual([
      ["retire", true],
      ["restore_limit", true],
    ]);
    expect([...all.server.keys.values()].map(({ limit }) => limit)).toEqual([10]);
    expect(all.server.keys.has(oldId)).toBe(false);
  });

  it("are taken out of the row of a person who saved one before it is removed", async () => {
    const all = await provisioned(elsewhere);
    const text = (await (await managerOfTest(all.home, all.env)).getStoredKey("alice")).key?.reveal() ?? "";
    await rotate(all);
    // As a program does that knows nothing of rotations.
    const saved = await (await managerOfTest(all.home, all.env)).save("bob", KEY);
    expect(saved.error).toBe(null);
    await overwrite(all, (row) => ({ ...row, generation: 0, keyHash: all.old, upstreamHash: null, limitDue: null }));
    expect(text).not.toBe("");
    pass(DAY);
    expect(await finish(all)).toMatchObject([{ kind: "retire", done: true }]);
    expect(await rowOf(all)).toBeUndefined();
  });
});

describe("a foreign key that is to be removed", () => {
  it("is named where its removal is not confirmed, because no record of it remains", { timeout: 30_000 }, async () => {
    const all = await stage();
    const { hash } = all.server.addKey(KEY, { limit: 7 });
    await all.given("save --user alice --stdin", { input: KEY });
    all.server.behave(always("DELETE /keys/{hash}", { status: 500 }));
    const { previous, error } = await rotate(all, { graceMs: 0, foreign: "revoke", timeoutMs: 5_000 });
    expect([previous?.revocation, error?.code, error?.hint]).toEqual([
      "pending",
      "REVOKE_PENDING",
      "delete it at https://openrouter.ai/keys",
    ]);
    expect(error?.message).toContain(hash);
  });

  it("is not removed while another user has it", async () => {
    const all = await stage();
    const { hash } = all.server.addKey(KEY, { limit: 7 });
    await all.given("save --user alice --stdin", { input: KEY });
    await all.given("save --user bob --stdin", { input: KEY });
    expect((await rotate(all, { graceMs: 0, foreign: "revoke" })).error?.code).toBe("CONFLICT");
    expect([...all.server.keys.keys()]).toEqual([hash]);
  });
});

it("a key in plain text that another program replaces meanwhile is not overwritten", async () => {
  const all = await stage();
  await all.given("save --user alice --stdin", { input: KEY });
  await overwrite(all, inPlainText(KEY));
  const { key, error } = await rotate(
    all,
    { foreign: "keep", graceMs: 0 },
    withCalls((store) => ({
      async replace(record, seen, signal) {
        if (!isTombstone(record) && record.generation === 1 && !record.settled)
          await overwrite(all, inPlainText(OTHER));
        return store.replace(record, seen, signal);
      },
    })),
  );
  expect([key, error?.code]).toEqual([null, "CONFLICT"]);
  expect((await rowOf(all))?.keyEncrypted).toBe(OTHER);
  expect(all.server.keys.size).toBe(0);
});

describe("what is due", () => {
  it("is tried again by the next run within a day, and left to reconcile after it", async () => {
    const all = await provisioned();
    await rotate(all);
    pass(1_200_000);
    all.server.behave(always("DELETE /keys/{hash}", { status: 403 }));
    expect(await finish(all).catch(({ code }: KeyctlError) => code)).toBe("MANAGEMENT_KEY_REFUSED");
    all.server.behave(() => "pass");
    expect(all.server.keys.has(all.old)).toBe(true);
    pass(DAY - 1_000);
    expect(await finish(all)).toMatchObject([{ kind: "retire", done: true }]);
    expect(all.server.keys.has(all.old)).toBe(false);
  });

  it("counts as due until its key is proven to be gone, and as overdue after an hour", async () => {
    const all = await provisioned();
    all.server.spend(all.old, 1);
    await rotate(all);
    const counted = async () => (await managerOfTest(all.home, all.env)).dueDuties();
    expect(await counted()).toEqual({ retire: 0, overdueRetirements: 0, limits: 0, overdueLimits: 0 });
    pass(1_200_000);
    expect(await counted()).toMatchObject({ retire: 1, overdueRetirements: 0 });
    pass(7 * DAY);
    expect(await counted()).toEqual({ retire: 1, overdueRetirements: 1, limits: 1, overdueLimits: 1 });
    await finish(all);
    expect(await counted()).toEqual({ retire: 0, overdueRetirements: 0, limits: 0, overdueLimits: 0 });
  });

  it("is done for the other users where one of them has a damaged record", async () => {
    const all = await provisioned();
    await all.given(`provision --user bob ${MONTHLY}`);
    const manager = await managerOfTest(all.home, all.env);
    await manager.rotate("alice", { graceMs: 1_000 });
    await manager.rotate("bob", { graceMs: 2_000 });
    pass(60_000);
    const duties = await finish(
      all,
      withCalls((store) => ({
        async find(user, signal) {
          if (user === ALICE) throw new KeyctlError("STORE_CORRUPT", "a damaged row");
          return store.find(user, signal);
        },
      })),
    );
    expect(duties.map(({ userId, done, error }) => [userId, done, error?.code])).toEqual([
      ["alice", false, "STORE_CORRUPT"],
      ["bob", true, undefined],
    ]);
  });

  it("ends a grace at once where its deletion was requested meanwhile", async () => {
    const all = await provisioned();
    await rotate(all);
    await note(all.home, "alice", { kind: "del", n: 1 });
    pass(1_200_000);
    expect(await finish(all)).toMatchObject([{ kind: "retire", done: true }]);
  });
});
