import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { historyOnUse } from "../../../src/core/history/history-on-use.ts";
import { KeyctlError } from "../../../src/core/model/errors.ts";
import type { Actor, HistoryEventName } from "../../../src/core/model/history-event.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import type { Change, HistoryStore } from "../../../src/core/ports/history.ts";
import { memoryHistory } from "../../support/memory/history.ts";

const ALICE = parseUserId("alice");
const BOB = parseUserId("bob");
const BEGIN = Date.parse("2026-11-22T00:00:00.000Z");
const ANN: Actor = { osUser: "ann", host: "ops1", ci: null, command: "rotate" };
const HASH_OF_ALICE = "2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90";

const key = (generation: number) => ({
  keyHash: String(generation).repeat(64).slice(0, 64),
  keyTail: "b465",
  generation,
});
const change = (event: HistoryEventName, generation = 0, more: Partial<Change> = {}): Change => ({
  event,
  userId: ALICE,
  key: key(generation),
  ...more,
});

function historyWith(historyStore: HistoryStore, actor: Actor = ANN) {
  let now = BEGIN;
  const history = historyOnUse({
    historyStore,
    clock: { now: () => new Date(now) },
    actor: async () => actor,
    reason: "of the manager",
  });
  return { history, pass: (milliseconds: number) => (now += milliseconds) };
}

function counted(store: HistoryStore) {
  const calls: number[] = [];
  const addEvents: HistoryStore["addEvents"] = (events, ...rest) => {
    calls.push(events.length);
    return store.addEvents(events, ...rest);
  };
  return { calls, store: { ...store, addEvents } };
}

const UNAVAILABLE = new KeyctlError("STORE_UNAVAILABLE", "the database does not answer");
const failing = (fail: () => Promise<void>): HistoryStore => ({ ...memoryHistory(), addEvents: fail });

describe("the notes of a call", () => {
  it("are events with its actor and its reason, or that of the manager", async () => {
    const store = memoryHistory();
    const { history } = historyWith(store);
    history.note(change("saved"));
    history.withReason("quarterly").note(change("rotated", 2, { userId: BOB }), change("unblocked", 0, { key: null }));
    await history.write();
    expect([...store.noted.values()].toSorted((a, b) => (a.event < b.event ? -1 : 1))).toMatchObject([
      { event: "rotated", userId: BOB, keyTail: "b465", generation: 2, actor: ANN, reason: "quarterly" },
      {
        event: "saved",
        userId: ALICE,
        keyHash: "0".repeat(64),
        generation: null,
        actor: ANN,
        reason: "of the manager",
      },
      { event: "unblocked", userId: ALICE, keyHash: null, keyTail: null, generation: null, reason: "quarterly" },
    ]);
  });

  it("are written together, and cost nothing where nothing was changed", async () => {
    const { calls, store } = counted(memoryHistory());
    const { history } = historyWith(store);
    await history.write();
    expect(calls).toEqual([]);
    history.note(
      ...Array.from({ length: 500 }, (_, index) => change("saved", 0, { userId: parseUserId(`u${index}`) })),
    );
    await history.write();
    await history.write();
    expect(calls).toEqual([500]);
  });

  it("are waited for by each of several calls, also if another call writes them", async () => {
    const store = memoryHistory();
    const { history } = historyWith(store);
    history.note(change("saved"));
    const first = history.write();
    history.note(change("purged"));
    const second = history.withReason(null).write();
    await second;
    expect(store.noted.size).toBe(2);
    await first;
  });

  it("are in their order, whatever a millisecond holds", async () => {
    const NAMES = ["saved", "replaced", "purged", "blocked"] as const;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom(...NAMES), fc.constantFrom(ALICE, BOB), fc.nat({ max: 2 }), fc.boolean()), {
          maxLength: 30,
        }),
        async (notes) => {
          const store = memoryHistory();
          const { history, pass } = historyWith(store);
          for (const [event, userId, laterMs, isWritten] of notes) {
            pass(laterMs);
            history.note(change(event, 0, { userId }));
            if (isWritten) await history.write();
          }
          await history.write();
          for (const user of [ALICE, BOB]) {
            const told: HistoryEventName[] = [];
            for await (const { event } of store.events({ user }, () => new AbortController().signal)) told.push(event);
            expect(told.toReversed()).toEqual(notes.filter(([, of]) => of === user).map(([event]) => event));
          }
        },
      ),
    );
  });
});

describe("what happens once to a key that keyctl created", () => {
  it.each<HistoryEventName>(["created", "rotated", "renewed", "abandoned", "revoked"])(
    "has one id: %s",
    async (event) => {
      const store = memoryHistory();
      const { history } = historyWith(store);
      history.note(change(event, 3));
      await history.write();
      expect([...store.noted.keys()]).toEqual([`${HASH_OF_ALICE}:openrouter:${event}:00000003:${"3".repeat(16)}`]);
    },
  );

  it.each<[HistoryEventName, number]>([
    ["revoked", 0],
    ["saved", 3],
    ["purged", 3],
    ["copied", 3],
  ])("and any other event, such as %s of generation %i, has an id of its own", async (event, generation) => {
    const store = memoryHistory();
    const { history } = historyWith(store);
    history.note(change(event, generation), change(event, generation));
    await history.write();
    expect(store.noted.size).toBe(2);
  });

  it("has one id for another key as well, if it may have been done before: the first event stays", async () => {
    const store = memoryHistory();
    for (const name of ["first", "second"]) {
      const { history } = historyWith(store, { ...ANN, command: name });
      history.note(change("revoked", 0, { isFinished: true }));
      await history.write();
    }
    expect([...store.noted.entries()].map(([id, { actor }]) => [id, actor.command])).toEqual([
      [`${HASH_OF_ALICE}:openrouter:revoked:00000000:${"0".repeat(16)}`, "first"],
    ]);
  });

  it("is one event by its owner, in whatever order the owner and those who finish it write", async () => {
    const who = fc.shuffledSubarray(["owner", "finisher 1", "finisher 2"], { minLength: 1 });
    await fc.assert(
      fc.asyncProperty(who, async (writers) => {
        const store = memoryHistory();
        for (const name of writers) {
          const { history } = historyWith(store, { ...ANN, command: name });
          history.note(change("created", 1, { isFinished: name !== "owner" }));
          await history.write();
        }
        const expected = writers.includes("owner") ? "owner" : writers[0];
        expect([...store.noted.values()].map(({ actor }) => actor.command)).toEqual([expected]);
      }),
    );
  });

  it("is one event by its owner, also if both are notes of one write", async () => {
    const store = memoryHistory();
    const { history } = historyWith(store);
    history.withReason("owner").note(change("created", 1));
    history.withReason("finisher").note(change("created", 1, { isFinished: true }));
    await history.write();
    expect([...store.noted.values()].map(({ reason }) => reason)).toEqual(["owner"]);
  });
});

describe("notes that cannot be written", () => {
  it("are one warning, once", async () => {
    const { history } = historyWith(failing(() => Promise.reject(UNAVAILABLE)));
    for (let times = 0; times < 3; times += 1) {
      history.note(change("saved"));
      await history.write();
    }
    const message = "the history does not tell of what was done: the database does not answer";
    expect(history.takeWarnings()).toEqual([{ code: "HISTORY_NOT_WRITTEN", message }]);
    expect(history.takeWarnings()).toEqual([]);
    history.note(change("saved"));
    await history.write();
    expect(history.takeWarnings()).toHaveLength(1);
  });

  it(
    "are given up after two seconds of a store that hangs, of which a call waits half a one, and none of those that follow",
    { timeout: 20_000 },
    async () => {
      let asked = 0;
      const hangs: HistoryStore["addEvents"] = (_events, _options, signal) => {
        asked += 1;
        return new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      };
      const { history } = historyWith({ ...memoryHistory(), addEvents: hangs });
      const began = performance.now();
      history.note(change("saved"));
      await history.write();
      expect(performance.now() - began).toBeLessThan(1_900);
      await history.flush();
      expect(performance.now() - began).toBeGreaterThan(1_900);
      for (let times = 0; times < 100; times += 1) {
        history.note(change("saved"));
        await history.write();
      }
      expect([asked, performance.now() - began < 10_000]).toEqual([1, true]);
      expect(history.takeWarnings()).toHaveLength(1);
    },
  );

  it("are a warning if the store has a bug, and the next notes are written", async () => {
    const store = memoryHistory();
    let isBroken = true;
    const { history } = historyWith({
      ...store,
      addEvents: (...given) => (isBroken ? Promise.reject(new TypeError("a bug")) : store.addEvents(...given)),
    });
    history.note(change("saved"));
    await history.write();
    expect(history.takeWarnings()).toMatchObject([{ code: "HISTORY_NOT_WRITTEN" }]);
    isBroken = false;
    history.note(change("purged"));
    await history.write();
    expect([...store.noted.values()].map(({ event }) => event)).toEqual(["purged"]);
  });
});
