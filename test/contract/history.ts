import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { HistoryEvent } from "../../src/core/model/history-event.ts";
import { parseUserId } from "../../src/core/model/user-id.ts";
import type { UserId } from "../../src/core/model/user-id.ts";
import type { HistoryFilter, HistoryStore } from "../../src/core/ports/history.ts";
import { historyEvents } from "../support/fixtures/arbitraries.ts";

type Connection = HistoryStore & { close(): Promise<void> };

/** An empty place for a history. */
export interface HistoryPlace {
  /** One more connection to the same records. */
  readonly connect: () => Promise<Connection>;
  readonly remove: () => Promise<void>;
}

const patient = new AbortController().signal;
const newSignal = () => patient;
const STAYS = { replaces: false };
const REPLACES = { replaces: true };
const ALICE = parseUserId("alice");
const BOB = parseUserId("bob");
const OBJECT_ID = parseUserId("68e228e87f803a11a4e23045");
const HASH = "a".repeat(64);
const OTHER_HASH = "b".repeat(64);
/** More events than any store reads at once, or removes at once. */
const MANY = 1_300;
const BEGIN = Date.parse("2026-11-22T00:00:00.000Z");

const at = (index: number) => new Date(BEGIN + index).toISOString();

function event(index: number, changed: Partial<HistoryEvent> = {}): HistoryEvent {
  return {
    id: `event-${String(index).padStart(8, "0")}`,
    at: at(index),
    userId: ALICE,
    event: "saved",
    keyHash: HASH,
    keyTail: "b465",
    generation: null,
    actor: { osUser: "ann", host: "ops1", ci: null, command: "save" },
    reason: null,
    ...changed,
  };
}

const eventsOf = (count: number, changed: Partial<HistoryEvent> = {}) =>
  Array.from({ length: count }, (_, index) => event(index, changed));

async function listed(history: HistoryStore, filter: HistoryFilter = {}): Promise<readonly HistoryEvent[]> {
  const all: HistoryEvent[] = [];
  for await (const one of history.events(filter, newSignal)) all.push(one);
  return all;
}

function newestFirst(events: readonly HistoryEvent[]): readonly HistoryEvent[] {
  return events.toSorted((one, other) => (orderOf(one) < orderOf(other) ? 1 : -1));
}

function orderOf({ at: time, id }: HistoryEvent): string {
  return `${time} ${id}`;
}

/**
 * The contract of the history for every store.
 * @param total the length of the longest list
 */
export function historyContract(name: string, emptyPlace: () => Promise<HistoryPlace>, total = 10_000): void {
  describe(`${name} as a history`, () => {
    let place: HistoryPlace;
    let connections: Connection[];
    let history: Connection;
    /** Another program on the same data. */
    let other: Connection;

    beforeEach(async () => {
      place = await emptyPlace();
      connections = [await place.connect(), await place.connect()];
      [history, other] = connections as [Connection, Connection];
    });

    afterEach(async () => {
      for (const connection of connections) await connection.close();
      await place.remove();
    });

    it("is empty at first", async () => {
      expect(await listed(history)).toEqual([]);
      expect(await history.removeEventsBefore(at(0), newSignal)).toBe(0);
    });

    it("gives back what was added, to every program", async () => {
      const added = [
        event(1),
        event(2, { userId: OBJECT_ID, event: "rotated", generation: 7, reason: "quarterly" }),
        event(3, { event: "unblocked", keyHash: null, keyTail: null }),
        event(4, { actor: { osUser: null, host: null, ci: "GitHub Actions, acme/app, job keys", command: "rotate" } }),
      ];
      await history.addEvents(added, STAYS, patient);
      expect(await listed(other)).toEqual(newestFirst(added));
    });

    it("gives back any event, whatever the ids of the users and the reasons hold", async () => {
      await fc.assert(
        fc.asyncProperty(historyEvents, async (events) => {
          await history.addEvents(events, STAYS, patient);
          expect(await listed(other)).toEqual(newestFirst(events));
          for (const user of new Set(events.map(({ userId }) => userId))) {
            expect(await listed(other, { user })).toEqual(newestFirst(events.filter((one) => one.userId === user)));
          }
          await history.removeEventsBefore("9999-12-31T23:59:59.999Z", newSignal);
        }),
        { numRuns: 25 },
      );
    });

    it("lists the newest first, beyond one page, also where many events have one time", async () => {
      const added = [
        ...eventsOf(MANY),
        ...Array.from({ length: MANY }, (_, index) => event(index, { id: `same-${index}`, at: at(MANY) })),
      ];
      await history.addEvents(added.toReversed(), STAYS, patient);
      expect((await listed(history)).map(({ id }) => id)).toEqual(newestFirst(added).map(({ id }) => id));
    });

    it.each<[string, HistoryFilter, (one: HistoryEvent) => boolean]>([
      ["a user", { user: BOB }, ({ userId }) => userId === BOB],
      ["a user whose id is an ObjectId", { user: OBJECT_ID }, ({ userId }) => userId === OBJECT_ID],
      ["a user without events", { user: parseUserId("carol") }, () => false],
      ["a key", { keyHash: OTHER_HASH }, ({ keyHash }) => keyHash === OTHER_HASH],
      ["a time", { since: at(900) }, (one) => one.at >= at(900)],
      ["a user and a key", { user: BOB, keyHash: HASH }, (one) => one.userId === BOB && one.keyHash === HASH],
      ["a user and a time", { user: BOB, since: at(900) }, (one) => one.userId === BOB && one.at >= at(900)],
      [
        "a user, a key and a time",
        { user: ALICE, keyHash: OTHER_HASH, since: at(300) },
        (one) => one.userId === ALICE && one.keyHash === OTHER_HASH && one.at >= at(300),
      ],
    ])("lists the events of %s", async (_, filter, isMeant) => {
      const users: readonly UserId[] = [ALICE, BOB, OBJECT_ID];
      const hashes = [HASH, OTHER_HASH, null];
      const added = eventsOf(MANY).map((one, index) => ({
        ...one,
        userId: users[index % users.length] ?? ALICE,
        keyHash: hashes[(index >> 2) % hashes.length] ?? null,
      }));
      await history.addEvents(added, STAYS, patient);
      const ids = (await listed(history, filter)).map(({ id }) => id);
      expect(ids).toEqual(newestFirst(added.filter(isMeant)).map(({ id }) => id));
    });

    it("keeps the first of two events with one id", async () => {
      await history.addEvents([event(1, { reason: "first" })], STAYS, patient);
      await other.addEvents([event(1, { reason: "second" }), event(2)], STAYS, patient);
      expect(await listed(history)).toEqual([event(2), event(1, { reason: "first" })]);
    });

    it("keeps the event that replaces, also under another time and another key", async () => {
      const owner = event(3, { id: "one", reason: "owner", keyHash: OTHER_HASH });
      await history.addEvents([event(1, { id: "one", reason: "finisher" }), event(2)], STAYS, patient);
      await other.addEvents([owner], REPLACES, patient);
      await history.addEvents([event(4, { id: "one", reason: "another finisher" })], STAYS, patient);
      expect(await listed(history)).toEqual([owner, event(2)]);
      expect(await listed(history, { keyHash: OTHER_HASH })).toEqual([owner]);
    });

    it("adds an event that is to replace one that is missing", async () => {
      await history.addEvents(eventsOf(3), REPLACES, patient);
      expect(await listed(other)).toEqual(newestFirst(eventsOf(3)));
    });

    it("keeps one event of many programs that write one id at once", async () => {
      const racing = Array.from({ length: 20 }, (_, index) => event(1, { reason: String(index) }));
      await Promise.all(
        racing.map((one, index) =>
          (index % 2 === 0 ? history : other).addEvents([one], { replaces: index % 3 === 0 }, patient),
        ),
      );
      expect(await listed(history)).toHaveLength(1);
    });

    it("removes what is older than a time, in more than one step, and leaves the rest", async () => {
      await history.addEvents(eventsOf(MANY), STAYS, patient);
      let steps = 0;
      const counted = () => {
        steps += 1;
        return patient;
      };
      expect(await history.removeEventsBefore(at(MANY - 10), counted)).toBe(MANY - 10);
      expect(steps).toBeGreaterThan(2);
      expect(await listed(other)).toEqual(newestFirst(eventsOf(MANY).slice(-10)));
      expect(await history.removeEventsBefore(at(MANY - 10), newSignal)).toBe(0);
    });

    it("rejects with the reason of a signal that is aborted, and writes nothing", async () => {
      await history.addEvents([event(1)], STAYS, patient);
      const aborted = AbortSignal.abort(new Error("stopped"));
      await expect(history.addEvents([event(2)], STAYS, aborted)).rejects.toThrow("stopped");
      await expect(history.addEvents([event(2)], REPLACES, aborted)).rejects.toThrow("stopped");
      await expect(history.removeEventsBefore(at(9), () => aborted)).rejects.toThrow("stopped");
      const list = history.events({}, () => aborted);
      await expect(list[Symbol.asyncIterator]().next()).rejects.toThrow("stopped");
      expect(await listed(history)).toEqual([event(1)]);
    });

    it("ends a list that nobody reads to its end", async () => {
      await history.addEvents(eventsOf(MANY), STAYS, patient);
      for await (const one of history.events({}, newSignal)) {
        expect(one.id).toBe(event(MANY - 1).id);
        break;
      }
      expect(await listed(history)).toHaveLength(MANY);
    });

    it(`lists ${total} events in constant memory`, { timeout: 60_000 }, async () => {
      for (let from = 0; from < total; from += 1_000) {
        await history.addEvents(
          Array.from({ length: 1_000 }, (_, index) => event(from + index)),
          STAYS,
          patient,
        );
      }
      // The pages are small: what is asked for is what is kept.
      let signals = 0;
      const counted = () => {
        signals += 1;
        return patient;
      };
      let seen = 0;
      let atThousand = 0;
      for await (const one of history.events({}, counted)) {
        seen += 1;
        expect(one.at).toBe(at(total - seen));
        if (seen === 1_000) atThousand = signals;
      }
      expect(seen).toBe(total);
      expect(atThousand).toBeLessThan(signals);
    });
  });
}
