import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AccountBinding, Entry, Journal, Operation, Recorded } from "../../src/core/ports/journal.ts";
import type { Timestamp } from "../../src/core/model/key-record.ts";
import { parseUserId } from "../../src/core/model/user-id.ts";
import type { UserId } from "../../src/core/model/user-id.ts";
import { entries, users } from "../support/fixtures/arbitraries.ts";

type Connection = Journal & { close(): Promise<void> };

/** An empty place for a journal. */
export interface JournalPlace {
  /** One more connection to the same records. */
  readonly connect: () => Promise<Connection>;
  readonly remove: () => Promise<void>;
}

const patient = new AbortController().signal;
const ALICE = parseUserId("alice");
const BOB = parseUserId("bob");
const OBJECT_ID = parseUserId("68e228e87f803a11a4e23045");
const NOW = "2026-11-22T00:00:00.000Z";
const HASH = "a".repeat(64);
const OTHER_HASH = "b".repeat(64);
/** More entries than any store reads at once. */
const MANY = 1_300;
const MANY_OPERATIONS = 510;

const numbered = (index: number) => parseUserId(`user-${index}`);

/** The contract of the journal for every store. Races between processes are tested for each store separately. */
export function journalContract(name: string, emptyPlace: () => Promise<JournalPlace>): void {
  describe(`${name} as a journal`, () => {
    let place: JournalPlace;
    let connections: Connection[];
    /** Two programs on the same data. */
    let journal: Connection;
    let other: Connection;

    beforeEach(async () => {
      place = await emptyPlace();
      connections = [];
      const connect = async () => {
        const connection = await place.connect();
        connections.push(connection);
        return connection;
      };
      journal = await connect();
      other = await connect();
    });

    afterEach(async () => {
      for (const connection of connections) await connection.close();
      await place.remove();
    });

    const insertAll = async (records: readonly Recorded[]) => {
      for (const entry of records) expect(await journal.insertEntry(entry, patient)).toBe(true);
    };

    describe("deployment", () => {
      it("is one id for all who ask, from the first time on", async () => {
        const ids = await Promise.all([journal.deployment(patient), other.deployment(patient)]);
        expect(ids[0]).toMatch(/^[0-9a-f]{16}$/);
        expect(ids[1]).toBe(ids[0]);
        expect(await journal.deployment(patient)).toBe(ids[0]);
      });

      it("is there for one who writes nothing once somebody has asked for it", async () => {
        const before = await journal.existingDeployment(patient);
        const id = await other.deployment(patient);
        expect([undefined, id]).toContain(before);
        expect(await journal.existingDeployment(patient)).toBe(id);
      });

      it("is taken over from another store while the journal is empty", async () => {
        expect(await journal.adoptDeployment("0123456789abcdef", patient)).toBe(true);
        expect(await other.deployment(patient)).toBe("0123456789abcdef");
        expect(await other.adoptDeployment("fedcba9876543210", patient)).toBe(true);
        expect(await other.deployment(patient)).toBe("fedcba9876543210");
      });

      it("stays once there are entries under it", async () => {
        const own = await journal.deployment(patient);
        await insertAll([op(ALICE, 1)]);
        expect(await other.adoptDeployment("0123456789abcdef", patient)).toBe(false);
        expect(await other.adoptDeployment(own, patient)).toBe(true);
        expect(await journal.deployment(patient)).toBe(own);
      });
    });

    describe("account", () => {
      const personal: AccountBinding = { organization: null, workspaces: ["w-1", "w-2"], adoptedAt: null };
      const company: AccountBinding = { organization: "org_1", workspaces: [], adoptedAt: NOW };

      it("is none, until the first of two processes binds the store to one", async () => {
        expect(await journal.account(patient)).toBeUndefined();
        expect(await journal.bindAccount(personal, patient)).toBe(true);
        expect(await other.bindAccount(company, patient)).toBe(false);
        expect(await other.account(patient)).toEqual(personal);
      });

      it("has one winner of many at the same time", async () => {
        const accounts = Array.from({ length: 20 }, (_, index) => ({ ...company, organization: `org_${index}` }));
        const won = await Promise.all(
          accounts.map((account, index) => (index % 2 ? journal : other).bindAccount(account, patient)),
        );
        expect(won.filter((isWinner) => isWinner).length).toBe(1);
        expect(await journal.account(patient)).toEqual(accounts[won.indexOf(true)]);
      });

      it("is another one when somebody says so, bound or not", async () => {
        await journal.rebindAccount(personal, patient);
        expect(await other.account(patient)).toEqual(personal);
        await other.rebindAccount(company, patient);
        expect(await journal.account(patient)).toEqual(company);
        expect(await journal.bindAccount(personal, patient)).toBe(false);
      });

      it("leaves the id of the store as it is", async () => {
        const id = await journal.deployment(patient);
        await journal.rebindAccount(personal, patient);
        expect(await other.deployment(patient)).toBe(id);
      });
    });

    describe("insertEntry", () => {
      it("lets the first of two win, and the loser reads what the winner wrote", async () => {
        const winner = op(ALICE, 1, { nonce: "1".repeat(16) });
        expect(await journal.entry(ALICE, "op", 1, patient)).toBeUndefined();
        expect(await other.insertEntry(winner, patient)).toBe(true);
        expect(await journal.insertEntry(op(ALICE, 1, { nonce: "2".repeat(16) }), patient)).toBe(false);
        expect(await journal.entry(ALICE, "op", 1, patient)).toEqual(winner);
      });

      it("is lost by the one who says the same a second time", async () => {
        await insertAll([op(ALICE, 1)]);
        expect(await journal.insertEntry(op(ALICE, 1), patient)).toBe(false);
      });

      it("has one winner of many at the same time", async () => {
        const nonces = Array.from({ length: 20 }, (_, index) => String(index).padStart(16, "0"));
        const won = await Promise.all(
          nonces.map((nonce, index) => (index % 2 ? journal : other).insertEntry(op(ALICE, 1, { nonce }), patient)),
        );
        expect(won.filter((isWinner) => isWinner).length).toBe(1);
        const record = await journal.entry(ALICE, "op", 1, patient);
        expect(record?.nonce).toBe(nonces[won.indexOf(true)]);
      });

      it("decides between saved and abandoned", async () => {
        expect(await journal.insertEntry(abandoned(ALICE, 1), patient)).toBe(true);
        expect(await other.insertEntry(saved(ALICE, 1), patient)).toBe(false);
        expect(await other.entry(ALICE, "out", 1, patient)).toEqual(abandoned(ALICE, 1));
      });

      it("keeps kinds, numbers and users apart", async () => {
        const records = [ALICE, BOB, OBJECT_ID].flatMap((user) =>
          [1, 2].flatMap((n) => [op(user, n), saved(user, n), revoked(user, n), deleted(user, n)]),
        );
        await insertAll(records);
        for (const entry of records) {
          expect(await other.entry(entry.userId, entry.kind, entry.n, patient)).toEqual(entry);
        }
        expect(await other.entry(ALICE, "op", 3, patient)).toBeUndefined();
      });
    });

    describe("newestOutcomes", () => {
      it("are the saved ones, the newest first, of all users", async () => {
        await insertAll([op(ALICE, 1), savedAt(ALICE, 1, 1), savedAt(BOB, 1, 3), abandoned(BOB, 2), revoked(BOB, 1)]);
        await insertAll([savedAt(OBJECT_ID, 1, 2)]);
        const newest = await other.newestOutcomes(5, patient);
        expect(newest).toEqual([savedAt(BOB, 1, 3), savedAt(OBJECT_ID, 1, 2), savedAt(ALICE, 1, 1)]);
        expect(await other.newestOutcomes(2, patient)).toEqual(newest.slice(0, 2));
      });

      it("are none in an empty journal", async () => {
        expect(await journal.newestOutcomes(20, patient)).toEqual([]);
      });
    });

    it("gives every entry of every user as it was written", async () => {
      await fc.assert(
        fc.asyncProperty(users, entries, async (user, entry) => {
          const record: Recorded = { ...entry, userId: user };
          const isFirst = (await journal.entry(user, entry.kind, entry.n, patient)) === undefined;
          expect(await journal.insertEntry(record, patient)).toBe(isFirst);
          if (!isFirst) return;
          expect(await other.entry(user, entry.kind, entry.n, patient)).toEqual(record);
          expect(await other.entries(user, patient)).toContainEqual(record);
        }),
        { numRuns: 60 },
      );
    });

    describe("lastOperation", () => {
      it("is the one with the highest number, whatever the order and whatever else there is", async () => {
        expect(await journal.lastOperation(ALICE, patient)).toBeUndefined();
        await insertAll([op(ALICE, 9), op(ALICE, 100), op(ALICE, 10), saved(ALICE, 101), revoked(ALICE, 200)]);
        await insertAll([op(BOB, 300)]);
        expect(await other.lastOperation(ALICE, patient)).toEqual(op(ALICE, 100));
        expect(await other.lastOperation(parseUserId("carol"), patient)).toBeUndefined();
      });
    });

    describe("entries", () => {
      it("are all of a user and of nobody else, by number", async () => {
        const numbers = Array.from({ length: 120 }, (_, index) => index + 1);
        const records = numbers.flatMap((n) => [op(ALICE, n), abandoned(ALICE, n)]);
        await insertAll(records.toReversed());
        await insertAll([op(BOB, 1), op(OBJECT_ID, 1)]);
        const found = await other.entries(ALICE, patient);
        expect(found.map(({ n }) => n)).toEqual(numbers.flatMap((n) => [n, n]));
        expect(new Set(found)).toEqual(new Set(records));
        expect(await other.entries(parseUserId("carol"), patient)).toEqual([]);
      });
    });

    describe("outcomesOf", () => {
      it("finds what was saved by our hash or by OpenRouter's own, and nothing that was abandoned", async () => {
        const alice = saved(ALICE, 2, HASH);
        const bob = saved(BOB, 1, OTHER_HASH, "bob's");
        await insertAll([op(ALICE, 1), abandoned(ALICE, 1), op(ALICE, 2), alice, revoked(ALICE, 2), op(BOB, 1), bob]);
        expect(await other.outcomesOf([HASH], patient)).toEqual([alice]);
        expect(await other.outcomesOf(["bob's"], patient)).toEqual([bob]);
        expect(await other.outcomesOf([OTHER_HASH, "bob's"], patient)).toEqual([bob]);
        const both = await other.outcomesOf([HASH, "unknown", OTHER_HASH], patient);
        expect(new Set(both)).toEqual(new Set([alice, bob]));
        expect(await other.outcomesOf([], patient)).toEqual([]);
        expect(await other.outcomesOf(["unknown"], patient)).toEqual([]);
      });

      it("finds every outcome of a key that two generations say they saved", async () => {
        await insertAll([saved(ALICE, 1, HASH), saved(BOB, 1, HASH)]);
        expect((await other.outcomesOf([HASH], patient)).length).toBe(2);
      });

      it("takes as many hashes as a page of a listing has, and more", async () => {
        await insertAll([saved(ALICE, 1, HASH)]);
        const unknown = Array.from({ length: MANY }, (_, index) => index.toString(16).padStart(64, "0"));
        expect(await other.outcomesOf([...unknown, HASH], patient)).toEqual([saved(ALICE, 1, HASH)]);
      });
    });

    describe("liveOperations", () => {
      it("gives the operations of all users within a time, the oldest first, and no more than asked", async () => {
        const times = ["2026-11-21T23:59:59.999Z", NOW, "2026-11-22T00:00:00.001Z", "2026-11-22T10:00:00.000Z"];
        await insertAll(times.map((at, index) => ({ ...op(numbered(index), 1), at })).toReversed());
        await insertAll([saved(ALICE, 1), revoked(ALICE, 1), deleted(ALICE, 1)]);
        const live = async (from: string, to: string, atMost: number) =>
          (await other.liveOperations([from, to], atMost, patient)).map(({ at }) => times.indexOf(at));
        expect(await live(NOW, "2026-11-22T10:00:00.000Z", 60)).toEqual([1, 2, 3]);
        expect(await live(NOW, "2026-11-22T09:59:59.999Z", 60)).toEqual([1, 2]);
        expect(await live("2026-11-21T00:00:00.000Z", "2026-11-23T00:00:00.000Z", 2)).toEqual([0, 1]);
        expect(await live("2026-11-22T10:00:00.001Z", "2026-11-23T00:00:00.000Z", 60)).toEqual([]);
      });

      it("says which have an outcome, and leaves out those that were abandoned or asked for", async () => {
        await insertAll([1, 2, 3, 4].map((index) => op(numbered(index), 1, { deliberate: index === 4 })));
        await insertAll([saved(numbered(1), 1), abandoned(numbered(2), 1), op(numbered(2), 2)]);
        const live = await other.liveOperations([NOW, NOW], 60, patient);
        expect(live.filter(({ isSaved }) => isSaved)).toHaveLength(1);
        expect(live).toHaveLength(3);
      });

      it("finds few among many that came to nothing, beyond what is read at once", { timeout: 120_000 }, async () => {
        const came = Array.from({ length: MANY_OPERATIONS }, (_, index) => numbered(index));
        const many = came.flatMap((user) => [op(user, 1), abandoned(user, 1)]);
        for (let from = 0; from < many.length; from += 100) {
          await Promise.all(many.slice(from, from + 100).map((entry) => journal.insertEntry(entry, patient)));
        }
        await insertAll([op(ALICE, 1), op(BOB, 1), saved(BOB, 1)]);
        expect(await other.liveOperations([NOW, NOW], 1, patient)).toHaveLength(1);
        expect(await other.liveOperations([NOW, NOW], 60, patient)).toHaveLength(2);
      });
    });

    describe("retirements", () => {
      it("gives those of all users within a time whose key is not proven to be deleted, the earliest first", async () => {
        const [early, late] = [due(BOB, 2, "2026-11-22T00:10:00.000Z"), due(ALICE, 7, "2026-11-22T00:20:00.000Z")];
        await insertAll([late, early, op(ALICE, 7), saved(ALICE, 7), deleted(ALICE, 7)]);
        const read = other;
        const within = async (from: string, to: string) => all(read.retirements([from, to], () => patient));
        expect(await within(NOW, "2026-11-23T00:00:00.000Z")).toEqual([early, late]);
        expect(await within("2026-11-22T00:10:00.000Z", "2026-11-22T00:20:00.000Z")).toEqual([early, late]);
        expect(await within("2026-11-22T00:10:00.001Z", "2026-11-22T00:19:59.999Z")).toEqual([]);
        await insertAll([recorded(BOB, { kind: "gone", n: 2 }), recorded(ALICE, { kind: "gone", n: 8 })]);
        expect(await within(NOW, "2026-11-23T00:00:00.000Z")).toEqual([late]);
      });

      it("gives each once, beyond one page, also where many have one time", { timeout: 120_000 }, async () => {
        const many = Array.from({ length: MANY }, (_, index) =>
          due(numbered(index), 1, index % 2 === 0 ? NOW : "2026-11-22T00:00:00.001Z"),
        );
        for (let from = 0; from < MANY; from += 100) {
          await Promise.all(many.slice(from, from + 100).map((entry) => journal.insertEntry(entry, patient)));
        }
        const found = await all(other.retirements([NOW, "2026-11-23T00:00:00.000Z"], () => patient));
        expect(inOrder(found)).toEqual(inOrder(many));
      });
    });

    describe("scanJournal", () => {
      it("gives nothing when there is nothing", async () => {
        expect(await all(journal.scanJournal(() => patient))).toEqual([]);
      });

      it("gives every entry once, beyond one page, and asks for patience for each", { timeout: 120_000 }, async () => {
        const many = Array.from({ length: MANY }, (_, index) => op(parseUserId(`user-${index}`), 1));
        for (let from = 0; from < MANY; from += 100) {
          await Promise.all(many.slice(from, from + 100).map((entry) => journal.insertEntry(entry, patient)));
        }
        let asked = 0;
        const patience = () => {
          asked += 1;
          return patient;
        };
        const found = await all(other.scanJournal(patience));
        expect(inOrder(found)).toEqual(inOrder(many));
        expect(asked).toBeGreaterThan(1);
        expect(await all(journal.scanJournal(() => patient))).toEqual(found);
      });

      it("can be left early, and the journal goes on working", async () => {
        await insertAll([op(ALICE, 1), op(ALICE, 2)]);
        for await (const entry of journal.scanJournal(() => patient)) {
          expect(entry.userId).toBe(ALICE);
          break;
        }
        expect(await journal.insertEntry(op(ALICE, 3), patient)).toBe(true);
      });
    });

    describe("with a signal that is aborted already", () => {
      const reason = new Error("the caller has gone");
      const gone = AbortSignal.abort(reason);
      const calls: Readonly<Record<keyof Journal, (to: Journal) => Promise<unknown>>> = {
        deployment: (to) => to.deployment(gone),
        existingDeployment: (to) => to.existingDeployment(gone),
        adoptDeployment: (to) => to.adoptDeployment("0123456789abcdef", gone),
        account: (to) => to.account(gone),
        bindAccount: (to) => to.bindAccount({ organization: "org_1", workspaces: [], adoptedAt: null }, gone),
        rebindAccount: (to) => to.rebindAccount({ organization: "org_1", workspaces: [], adoptedAt: null }, gone),
        insertEntry: (to) => to.insertEntry(op(BOB, 1), gone),
        entry: (to) => to.entry(ALICE, "op", 1, gone),
        lastOperation: (to) => to.lastOperation(ALICE, gone),
        entries: (to) => to.entries(ALICE, gone),
        outcomesOf: (to) => to.outcomesOf([HASH], gone),
        liveOperations: (to) => to.liveOperations([NOW, NOW], 60, gone),
        newestOutcomes: (to) => to.newestOutcomes(20, gone),
        retirements: (to) => all(to.retirements([NOW, NOW], () => gone)),
        scanJournal: (to) => all(to.scanJournal(() => gone)),
      };

      it.each(Object.entries(calls))("%s rejects with its reason and does nothing", async (_, call) => {
        await insertAll([op(ALICE, 1)]);
        await expect(call(journal)).rejects.toBe(reason);
        expect(await all(other.scanJournal(() => patient))).toEqual([op(ALICE, 1)]);
        expect(await other.account(patient)).toBeUndefined();
      });
    });
  });
}

function due(user: UserId, n: number, retireAt: string) {
  return recorded(user, { kind: "due", n, retireAt });
}

/** By their users, of whom each has one. */
function inOrder(journal: readonly Recorded[]): readonly Recorded[] {
  return journal.toSorted((one, other) => (one.userId < other.userId ? -1 : 1));
}

const PLAIN: Omit<Operation, "n"> = {
  kind: "op",
  nonce: "77d0c1b2a3948576",
  label: null,
  limit: null,
  limitReset: null,
  expiresAt: null,
  workspace: null,
  deliberate: false,
};

function op(user: UserId, n: number, more: Partial<Operation> = {}): Recorded<Operation> {
  return recorded(user, { ...PLAIN, ...more, n });
}

function saved(user: UserId, n: number, hash = HASH, upstreamHash: string | null = null) {
  return recorded(user, { kind: "out", n, outcome: "saved", hash, upstreamHash });
}

function savedAt(user: UserId, n: number, second: number) {
  const outcome = { kind: "out", n, outcome: "saved", hash: HASH, upstreamHash: null } as const;
  return recorded(user, outcome, `2026-11-22T00:00:${String(second).padStart(2, "0")}.000Z`);
}

function abandoned(user: UserId, n: number) {
  return recorded(user, { kind: "out", n, outcome: "abandoned" });
}

function revoked(user: UserId, n: number) {
  return recorded(user, { kind: "rev", n, reason: "superseded", revoke: false, block: false });
}

function deleted(user: UserId, n: number) {
  return recorded(user, { kind: "del", n });
}

function recorded<Of extends Entry>(userId: UserId, entry: Of, at: Timestamp = NOW): Recorded<Of> {
  return { ...entry, userId, at };
}

async function all(found: AsyncIterable<Recorded>): Promise<readonly Recorded[]> {
  const collected: Recorded[] = [];
  for await (const entry of found) collected.push(entry);
  return collected;
}
