import { newTombstone } from "../../src/core/model/tombstone.ts";
import type { StoredRow } from "../../src/core/model/tombstone.ts";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ApiKey } from "../../src/core/model/api-key.ts";
import { newRecord, NO_TERMS, NOT_RENEWED, withKey } from "../../src/core/model/key-record.ts";
import type { KeyRecord, LastCheck, Previous } from "../../src/core/model/key-record.ts";
import type { KeyStore, KeyCheckValues } from "../../src/core/ports/stores-and-sources.ts";
import { findKey } from "../../src/core/protocol/find-key.ts";
import { parseUserId } from "../../src/core/model/user-id.ts";
import type { UserId } from "../../src/core/model/user-id.ts";
import { stored } from "../support/fixtures/arbitraries.ts";

type Store = KeyStore & KeyCheckValues;

/** An empty place for keys. */
export interface Place {
  /** One more connection to the same keys. */
  readonly connect: () => Promise<Store>;
  readonly remove: () => Promise<void>;
}

const patient = new AbortController().signal;
const ALICE = parseUserId("alice");
const BOB = parseUserId("bob");
const EARLIER = "2026-11-21T00:00:00.000Z";
const NOW = "2026-11-22T00:00:00.000Z";
const VALID: LastCheck = { at: NOW, verdict: "valid", reason: null };
const INVALID: LastCheck = { at: NOW, verdict: "invalid", reason: "disabled" };

const FORMER: Previous = {
  revoke: true,
  graceMs: 600_000,
  generation: 2,
  keyHash: "a".repeat(64),
  keyEncrypted: "eyJ0eXAi.former...",
  keyTail: "a123",
  origin: "auto-provisioned",
  name: "keyctl/9f2c0a7d41b6e853/2bd806c97f0e/2-0123456789abcdef",
  label: "what a person called it",
  limit: 10,
  limitReset: "weekly",
  expiresAt: NOW,
  upstreamHash: "b".repeat(64),
  limitDue: { limit: 10, at: NOW },
  restrictions: { guardrails: ["guardrail-1"], byok: ["byok-1", "byok-2"] },
  autoRenewed: true,
  lastRenewalAt: EARLIER,
  createdAt: EARLIER,
  lastValidated: EARLIER,
  lastCheck: INVALID,
};

/** The optional facts of a check. */
const SAID = {
  limit: 10,
  limitRemaining: 3.2,
  blockedBy: "workspace_default_member",
  expiresAt: NOW,
  lastUsedAt: EARLIER,
} as const;

/** More rows than any store reads at once. */
const MANY = 1_300;

/** Ids that a careless store would confuse, truncate, or interpret as something else than text. */
const ODD_USERS = [
  "68e228e87f803a11a4e23045",
  "68e228e87f803a11a4e2304",
  "'; DROP TABLE api_keys; --",
  '{"$ne":null}',
  "$where",
  "a.b.c",
  "%",
  "_",
  "*",
  "Alice",
  "null",
  "0",
  "00",
  "1e3",
  "true",
  "[object Object]",
  "back\\slash",
  '"quoted"',
  "zoë",
  "日本語",
  "😀",
  "\u{10FFFF}",
  "\u202Eright-to-left",
  "x\u200By",
  "constructor",
  "__proto__",
  "é".repeat(64),
].map(parseUserId);

/**
 * The contract of the key store for every store. The order of events between two connections is fixed step by step, so
 * no result depends on chance. Real races between writers are tested for each store separately.
 */
export function keyStoreContract(name: string, emptyPlace: () => Promise<Place>): void {
  describe(`${name} as a key store`, () => {
    let place: Place;
    let connections: Store[];
    /** Two programs on the same data. */
    let store: Store;
    let other: Store;

    const connect = async () => {
      const connection = await place.connect();
      connections.push(connection);
      return connection;
    };

    beforeEach(async () => {
      place = await emptyPlace();
      connections = [];
      store = await connect();
      other = await connect();
    });

    afterEach(async () => {
      for (const connection of connections) await connection.close();
      await place.remove();
    });

    /** The row as a program reads it now. */
    const seen = async (connection: Store, user: UserId): Promise<KeyRecord> => {
      const row = await findKey(connection, user, patient);
      if (row === undefined) throw new Error(`no row for ${user}`);
      return row;
    };

    describe("find", () => {
      it("gives undefined for a user without a key", async () => {
        expect(await store.find(ALICE, patient)).toBeUndefined();
      });

      it("gives every field as it was saved", async () => {
        const full: KeyRecord = {
          ...record(ALICE),
          origin: "auto-provisioned",
          createdAt: EARLIER,
          lastValidated: EARLIER,
          lastCheck: INVALID,
          generation: 3,
          settled: false,
          revision: 7,
          name: "keyctl/9f2c0a7d41b6e853/2bd806c97f0e/3-77d0c1b2a3948576",
          label: "the first",
          limit: 2.5,
          limitReset: "monthly",
          expiresAt: "2027-02-20T02:14:07.000Z",
          upstreamHash: "c".repeat(64),
          previous: FORMER,
        };
        await store.insert(full, patient);
        expect(await other.find(ALICE, patient)).toEqual(full);
        expect(await other.findMany([ALICE], patient)).toEqual([full]);
        expect(await all(other.scan(() => patient))).toEqual([full]);
      });

      it("gives every row that can be, after an insert and after a change", async () => {
        let runs = 0;
        await fc.assert(
          fc.asyncProperty(stored, stored, async (first, second) => {
            runs += 1;
            const user = parseUserId(`user-${runs}`);
            const row: KeyRecord = { ...record(user), ...first };
            expect(await store.insert(row, patient)).toBe(true);
            expect(await other.find(user, patient)).toEqual(row);
            const next: KeyRecord = { ...row, ...second };
            expect(await other.replace(next, row, patient)).toBe(true);
            expect(await store.find(user, patient)).toEqual(next);
            expect(await store.remove(user, next, patient)).toBe(true);
          }),
          { numRuns: 60 },
        );
      });

      it("gives a row from before encryption, which has no hash, tail or revision", async () => {
        const old: KeyRecord = { ...record(ALICE), keyHash: null, keyTail: null, revision: null };
        await store.insert(old, patient);
        expect(await other.find(ALICE, patient)).toEqual(old);
      });

      it.each(ODD_USERS)("keeps user %j apart from all others", async (user) => {
        const row = record(user);
        await store.insertMany(rowsFor(ODD_USERS.filter((odd) => odd !== user)), patient);
        expect(await other.find(user, patient)).toBeUndefined();
        expect(await store.insert(row, patient)).toBe(true);
        expect(await other.find(user, patient)).toEqual(row);
        expect(await store.remove(user, row, patient)).toBe(true);
        expect(await other.count(patient)).toBe(ODD_USERS.length - 1);
      });
    });

    describe("findMany", () => {
      it("gives the rows of those users that have one", async () => {
        const rows = rowsFor(ODD_USERS);
        await store.insertMany(rows, patient);
        const found = await other.findMany([...ODD_USERS, ALICE, BOB], patient);
        expect(byUser(found)).toEqual(byUser(rows));
      });

      it("gives nothing for nobody", async () => {
        await store.insert(record(ALICE), patient);
        expect(await store.findMany([], patient)).toEqual([]);
      });

      it("gives a row once when its user is asked for twice", async () => {
        const row = record(ALICE);
        await store.insert(row, patient);
        expect(await store.findMany([ALICE, ALICE], patient)).toEqual([row]);
      });
    });

    describe("insert", () => {
      it("lets one of two win who both saw that there is no key", async () => {
        expect(await store.find(ALICE, patient)).toBeUndefined();
        expect(await other.find(ALICE, patient)).toBeUndefined();
        const winner = record(ALICE);
        expect(await other.insert(winner, patient)).toBe(true);
        expect(await store.insert(record(ALICE), patient)).toBe(false);
        expect(await store.find(ALICE, patient)).toEqual(winner);
        expect(await store.count(patient)).toBe(1);
      });

      it("takes a user again after a removal", async () => {
        const first = record(ALICE);
        await store.insert(first, patient);
        await store.remove(ALICE, first, patient);
        const second = record(ALICE);
        expect(await other.insert(second, patient)).toBe(true);
        expect(await store.find(ALICE, patient)).toEqual(second);
      });
    });

    describe("insertMany", () => {
      it("says for each row whether it won, in the order given", async () => {
        const there = record(BOB);
        await other.insert(there, patient);
        const [alice, bob, carol] = [record(ALICE), record(BOB), record(parseUserId("carol"))];
        expect(await store.insertMany([alice, bob, carol], patient)).toEqual([true, false, true]);
        expect(await other.find(ALICE, patient)).toEqual(alice);
        expect(await other.find(BOB, patient)).toEqual(there);
        expect(await other.find(carol.userId, patient)).toEqual(carol);
      });

      it("lets the first of two rows of the same user win", async () => {
        const first = record(ALICE);
        expect(await store.insertMany([first, record(ALICE)], patient)).toEqual([true, false]);
        expect(await other.find(ALICE, patient)).toEqual(first);
      });

      it("takes nothing at all", async () => {
        expect(await store.insertMany([], patient)).toEqual([]);
      });
    });

    describe("replace", () => {
      it("changes the row that was seen and no other", async () => {
        const [alice, bob] = [record(ALICE), record(BOB)];
        await store.insertMany([alice, bob], patient);
        const next: KeyRecord = { ...rekeyed(alice), lastCheck: VALID, lastValidated: NOW, settled: false };
        expect(await store.replace(next, alice, patient)).toBe(true);
        expect(await other.find(ALICE, patient)).toEqual(next);
        expect(await other.find(BOB, patient)).toEqual(bob);
      });

      it("refuses the slower of two: read A, read B, write B, write A", async () => {
        await store.insert(record(ALICE), patient);
        const seenByA = await seen(store, ALICE);
        const seenByB = await seen(other, ALICE);
        const writtenByB = rekeyed(seenByB);
        expect(await other.replace(writtenByB, seenByB, patient)).toBe(true);
        expect(await store.replace(rekeyed(seenByA), seenByA, patient)).toBe(false);
        expect(await store.find(ALICE, patient)).toEqual(writtenByB);
      });

      it("refuses after a delete and an insert in between, though the revision is the same again", async () => {
        await store.insert(record(ALICE), patient);
        const seenByA = await seen(store, ALICE);
        expect(await other.remove(ALICE, seenByA, patient)).toBe(true);
        const reborn = record(ALICE);
        expect(await other.insert(reborn, patient)).toBe(true);
        expect(reborn.revision).toBe(seenByA.revision);
        expect(await store.replace(rekeyed(seenByA), seenByA, patient)).toBe(false);
        expect(await store.find(ALICE, patient)).toEqual(reborn);
      });

      it("refuses after another program wrote a key without counting: the revision alone is the same", async () => {
        const row = record(ALICE);
        await store.insert(row, patient);
        const written: KeyRecord = { ...row, keyEncrypted: `${row.keyEncrypted}x` };
        expect(await other.replace(written, row, patient)).toBe(true);
        expect(await store.replace(rekeyed(row), row, patient)).toBe(false);
        expect(await store.remove(ALICE, row, patient)).toBe(false);
        expect(await store.find(ALICE, patient)).toEqual(written);
      });

      it("refuses after a removal, and brings nothing back", async () => {
        await store.insert(record(ALICE), patient);
        const seenByA = await seen(store, ALICE);
        await other.remove(ALICE, seenByA, patient);
        expect(await store.replace(rekeyed(seenByA), seenByA, patient)).toBe(false);
        expect(await store.find(ALICE, patient)).toBeUndefined();
      });

      it("changes a row that has no revision yet, once", async () => {
        const old: KeyRecord = { ...record(ALICE), revision: null };
        await store.insert(old, patient);
        expect(await store.replace(rekeyed(old), { ...old, revision: 1 }, patient)).toBe(false);
        const next = rekeyed(old);
        expect(await store.replace(next, old, patient)).toBe(true);
        expect(await other.replace(rekeyed(old), old, patient)).toBe(false);
        expect(await store.find(ALICE, patient)).toEqual(next);
      });
    });

    describe("the note of what was before", () => {
      const bare: Previous = {
        ...FORMER,
        ...NO_TERMS,
        generation: 0,
        keyHash: null,
        keyEncrypted: null,
        keyTail: null,
        lastValidated: null,
        lastCheck: null,
        revoke: false,
      };

      it.each([
        ["all of it", FORMER],
        ["the least of it", bare],
      ])("is kept until it is dropped, with %s", async (_, previous) => {
        const row = record(ALICE);
        await store.insert(row, patient);
        const noted: KeyRecord = { ...rekeyed(row), generation: 4, settled: false, previous };
        expect(await store.replace(noted, row, patient)).toBe(true);
        expect((await seen(other, ALICE)).previous).toEqual(previous);
        const done: KeyRecord = { ...noted, revision: 3, settled: true, previous: null };
        expect(await other.replace(done, noted, patient)).toBe(true);
        expect(await store.find(ALICE, patient)).toEqual(done);
      });

      it("is what it takes to put the row back", async () => {
        const { revoke: _, graceMs: __, keyEncrypted, ...former } = FORMER;
        const first: KeyRecord = { ...record(ALICE), ...former, keyEncrypted: keyEncrypted ?? "none" };
        await store.insert(first, patient);
        const noted: KeyRecord = { ...rekeyed(first), generation: 9, settled: false, previous: FORMER };
        await store.replace(noted, first, patient);
        const back: KeyRecord = { ...first, revision: 3 };
        expect(await other.replace(back, noted, patient)).toBe(true);
        expect(await store.find(ALICE, patient)).toEqual(back);
      });
    });

    it("keeps nothing of a key that was made when another takes its place", async () => {
      const { revoke: _, graceMs: __, keyEncrypted: ___, ...former } = FORMER;
      const made: KeyRecord = { ...record(ALICE), ...former };
      await store.insert(made, patient);
      const next = rekeyed(made);
      expect(await other.replace(next, made, patient)).toBe(true);
      expect(await store.find(ALICE, patient)).toMatchObject({ ...NOT_RENEWED, ...NO_TERMS, generation: 0 });
    });

    describe("remove", () => {
      it("removes the row that was seen and no other", async () => {
        const [alice, bob] = [record(ALICE), record(BOB)];
        await store.insertMany([alice, bob], patient);
        expect(await store.remove(ALICE, alice, patient)).toBe(true);
        expect(await other.find(ALICE, patient)).toBeUndefined();
        expect(await other.find(BOB, patient)).toEqual(bob);
      });

      it("refuses after a change: read A, read B, write B, remove A", async () => {
        await store.insert(record(ALICE), patient);
        const seenByA = await seen(store, ALICE);
        const writtenByB = rekeyed(await seen(other, ALICE));
        expect(await other.replace(writtenByB, seenByA, patient)).toBe(true);
        expect(await store.remove(ALICE, seenByA, patient)).toBe(false);
        expect(await store.find(ALICE, patient)).toEqual(writtenByB);
      });

      it("refuses after a delete and an insert in between, though the revision is the same again", async () => {
        await store.insert(record(ALICE), patient);
        const seenByA = await seen(store, ALICE);
        await other.remove(ALICE, seenByA, patient);
        const reborn = record(ALICE);
        await other.insert(reborn, patient);
        expect(await store.remove(ALICE, seenByA, patient)).toBe(false);
        expect(await store.find(ALICE, patient)).toEqual(reborn);
      });

      it("refuses the second of two removals", async () => {
        await store.insert(record(ALICE), patient);
        const seenByA = await seen(store, ALICE);
        expect(await other.remove(ALICE, await seen(other, ALICE), patient)).toBe(true);
        expect(await store.remove(ALICE, seenByA, patient)).toBe(false);
      });

      it("refuses a row of another user", async () => {
        const [alice, bob] = [record(ALICE), record(BOB)];
        await store.insertMany([alice, bob], patient);
        expect(await store.remove(ALICE, bob, patient)).toBe(false);
        expect(await store.count(patient)).toBe(2);
      });
    });

    it.each(["2027-01-01", "2027-01-01T00:00:00", "soon", "unknown"])(
      "an end that cannot be read is never 'never', and stays as it is: %s",
      async (expiresAt) => {
        const row: KeyRecord = { ...record(ALICE), generation: 1, name: "a", expiresAt };
        await store.insert(row, patient);
        const found = await seen(other, ALICE);
        expect(found.expiresAt).toBe(expiresAt);
        expect(await store.replace({ ...found, revision: 2 }, found, patient)).toBe(true);
        expect((await seen(other, ALICE)).expiresAt).toBe(expiresAt);
      },
    );

    describe("recordCheck", () => {
      it("notes that a key is valid, and when it was", async () => {
        const row = record(ALICE);
        await store.insert(row, patient);
        expect(await store.recordCheck(row, VALID, patient)).toBe(true);
        expect(await other.find(ALICE, patient)).toEqual({ ...row, lastCheck: VALID, lastValidated: NOW });
      });

      it.each<[string, LastCheck]>([
        ["all of it", { ...VALID, ...SAID }],
        [
          "that there is none",
          { ...VALID, limit: null, limitRemaining: null, blockedBy: null, expiresAt: null, lastUsedAt: null },
        ],
        ["an end that cannot be read", { ...INVALID, expiresAt: "2027-01-01" }],
      ])("keeps what else OpenRouter said, also through a change of the row: %s", async (_, check) => {
        const row = record(ALICE);
        await store.insert(row, patient);
        expect(await store.recordCheck(row, check, patient)).toBe(true);
        const found = await seen(other, ALICE);
        expect(found.lastCheck).toStrictEqual(check);
        const previous = { ...FORMER, lastCheck: check };
        const next: KeyRecord = { ...found, revision: 2, generation: 4, settled: false, previous };
        expect(await store.replace(next, found, patient)).toBe(true);
        expect(await other.find(ALICE, patient)).toStrictEqual(next);
      });

      it("leaves the time of the last validation as it was when the key is invalid", async () => {
        const row: KeyRecord = { ...record(ALICE), lastCheck: { ...VALID, at: EARLIER }, lastValidated: EARLIER };
        await store.insert(row, patient);
        expect(await store.recordCheck(row, INVALID, patient)).toBe(true);
        expect(await other.find(ALICE, patient)).toEqual({ ...row, lastCheck: INVALID });
      });

      it("makes no change lose: read A, check B, write A", async () => {
        await store.insert(record(ALICE), patient);
        const seenByA = await seen(store, ALICE);
        expect(await other.recordCheck(seenByA, VALID, patient)).toBe(true);
        const next = rekeyed(seenByA);
        expect(await store.replace(next, seenByA, patient)).toBe(true);
        expect(await other.find(ALICE, patient)).toEqual(next);
      });

      it("makes no removal lose: read A, check B, remove A", async () => {
        await store.insert(record(ALICE), patient);
        const seenByA = await seen(store, ALICE);
        expect(await other.recordCheck(seenByA, INVALID, patient)).toBe(true);
        expect(await store.remove(ALICE, seenByA, patient)).toBe(true);
      });

      it("says nothing about the key that came after: read A, write B, check A", async () => {
        await store.insert(record(ALICE), patient);
        const seenByA = await seen(store, ALICE);
        const next = rekeyed(seenByA);
        await other.replace(next, seenByA, patient);
        expect(await store.recordCheck(seenByA, INVALID, patient)).toBe(false);
        expect(await store.find(ALICE, patient)).toEqual(next);
      });

      it("says nothing about the same key in a new row", async () => {
        const row = record(ALICE);
        await store.insert(row, patient);
        await other.remove(ALICE, row, patient);
        const reborn: KeyRecord = { ...row, id: record(ALICE).id };
        await other.insert(reborn, patient);
        expect(await store.recordCheck(row, INVALID, patient)).toBe(false);
        expect(await store.find(ALICE, patient)).toEqual(reborn);
      });

      it("is false when the row is gone", async () => {
        const row = record(ALICE);
        await store.insert(row, patient);
        await other.remove(ALICE, row, patient);
        expect(await store.recordCheck(row, VALID, patient)).toBe(false);
        expect(await store.count(patient)).toBe(0);
      });

      it("touches one of two users who share a key", async () => {
        const key = newKey();
        const [alice, bob] = [record(ALICE, key), record(BOB, key)];
        await store.insertMany([alice, bob], patient);
        expect(await store.recordCheck(bob, VALID, patient)).toBe(true);
        expect(await other.find(ALICE, patient)).toEqual(alice);
      });

      it("notes it for a row that has no hash yet", async () => {
        const old: KeyRecord = { ...record(ALICE), keyHash: null, keyTail: null, revision: null };
        await store.insert(old, patient);
        expect(await store.recordCheck(old, VALID, patient)).toBe(true);
        expect(await other.find(ALICE, patient)).toEqual({ ...old, lastCheck: VALID, lastValidated: NOW });
      });
    });

    describe("scan", () => {
      it("gives nothing when there is nothing", async () => {
        expect(await all(store.scan(() => patient))).toEqual([]);
      });

      it("gives all rows in the order of the user id's bytes, beyond one page", async () => {
        const odd = ["zoë", "Zoe", "日本語", "😀", "\uFF5E", "_", "a.b", "~"].map(parseUserId);
        const users = [...numbered("user-", MANY), ...odd];
        const rows = rowsFor(users).toSorted((one, two) => (one.keyHash ?? "").localeCompare(two.keyHash ?? ""));
        await store.insertMany(rows, patient);
        const expected = rows.toSorted((one, two) => Buffer.compare(Buffer.from(one.userId), Buffer.from(two.userId)));
        expect(await all(other.scan(() => patient))).toEqual(expected);
      });

      it("gives every row once, whatever its user id", async () => {
        const rows = rowsFor(ODD_USERS);
        await store.insertMany(rows, patient);
        expect(byUser(await all(other.scan(() => patient)))).toEqual(byUser(rows));
      });

      it("gives the rows of one key when its hash is given, beyond one page", async () => {
        const key = newKey();
        const sharing = rowsFor(numbered("sharing-", MANY), key);
        await store.insertMany([record(ALICE), ...sharing, record(BOB)], patient);
        expect(await all(other.scan(() => patient, key.hash))).toEqual(sharing);
        expect(await all(other.scan(() => patient, newKey().hash))).toEqual([]);
      });

      it("gives a row that stays once, however much changes meanwhile", async () => {
        const rows = rowsFor(numbered("user-", MANY));
        await store.insertMany(rows, patient);
        const staying = rows.filter((_, index) => index % 3 === 0);
        const leaving = rows.filter((_, index) => index % 3 === 1);
        const changing = rows.filter((_, index) => index % 3 === 2);

        const given: string[] = [];
        for await (const { userId } of store.scan(() => patient)) {
          given.push(userId);
          if (given.length === 10) {
            for (const row of leaving.slice(0, 20)) await other.remove(row.userId, row, patient);
            for (const row of changing.slice(-20)) await other.replace(rekeyed(row), row, patient);
            await other.insertMany(
              rowsFor(["!first", "user-0000x", "user-0600x", "zzz-last"].map(parseUserId)),
              patient,
            );
          }
          if (given.length === MANY - 100) {
            for (const row of leaving.slice(-20)) await other.remove(row.userId, row, patient);
          }
        }
        expect(new Set(given).size).toBe(given.length);
        expect(given).toEqual(given.toSorted());
        for (const { userId } of [...staying, ...changing]) expect(given).toContain(userId);
      });

      it("can be left early, and the store goes on working", async () => {
        await store.insertMany(rowsFor(numbered("user-", MANY)), patient);
        for await (const row of store.scan(() => patient)) {
          expect(await store.remove(row.userId, row, patient)).toBe(true);
          break;
        }
        expect(await other.count(patient)).toBe(MANY - 1);
        expect(await other.insert(record(ALICE), patient)).toBe(true);
      });

      it("asks for patience again for each page", async () => {
        await store.insertMany(rowsFor(numbered("user-", MANY)), patient);
        let asked = 0;
        const once = () => {
          asked += 1;
          return asked === 1 ? patient : AbortSignal.abort(new Error("no longer"));
        };
        let given = 0;
        const reading = (async () => {
          for await (const row of store.scan(once)) given += row.userId.length > 0 ? 1 : 0;
        })();
        await expect(reading).rejects.toThrow("no longer");
        expect(asked).toBe(2);
        expect(given).toBeGreaterThan(0);
        expect(given).toBeLessThan(MANY);
      });
    });

    describe("scanDueLimits", () => {
      it("gives the rows whose limit is due by then, and no others, beyond one page", async () => {
        const due = Array.from({ length: MANY }, (_, index) => withLimitDue(parseUserId(`due-${index}`), EARLIER));
        const later = withLimitDue(ALICE, NOW);
        await store.insertMany([...due, later, record(BOB)], patient);
        const found = await all(other.scanDueLimits(EARLIER, () => patient));
        expect(inOrder(found)).toEqual(inOrder(due));
        expect(await all(other.scanDueLimits(NOW, () => patient))).toContainEqual(later);
        expect(await all(other.scanDueLimits("2026-11-20T23:59:59.999Z", () => patient))).toEqual([]);
      });

      it("gives none that got its limit back", async () => {
        const row = withLimitDue(ALICE, EARLIER);
        await store.insert(row, patient);
        await store.replace({ ...row, revision: 2, limitDue: null }, row, patient);
        expect(await all(other.scanDueLimits(NOW, () => patient))).toEqual([]);
      });
    });

    describe("a tombstone", () => {
      const BLOCK = { at: NOW, reason: "has left; 'quoted' \u{1f512}" };

      it("takes the place of a row that was seen, and is found there", async () => {
        const row = record(ALICE);
        await store.insert(row, patient);
        const tombstone = newTombstone(ALICE, BLOCK, row);
        expect(await store.replace(tombstone, row, patient)).toBe(true);
        expect(await other.find(ALICE, patient)).toEqual(tombstone);
        expect(await other.findMany([ALICE, BOB], patient)).toEqual([tombstone]);
      });

      it("does not take the place of a row that was changed", async () => {
        const row = record(ALICE);
        await store.insert(row, patient);
        const changed = rekeyed(row);
        await other.replace(changed, row, patient);
        expect(await store.replace(newTombstone(ALICE, BLOCK, row), row, patient)).toBe(false);
        expect(await store.find(ALICE, patient)).toEqual(changed);
      });

      it("keeps every key out that is inserted for its user", async () => {
        expect(await store.insert(newTombstone(ALICE, BLOCK), patient)).toBe(true);
        expect(await other.insert(record(ALICE), patient)).toBe(false);
        expect(await other.insertMany([record(BOB), record(ALICE)], patient)).toEqual([true, false]);
        expect(await store.find(ALICE, patient)).toMatchObject({ blocked: BLOCK });
      });

      it("keeps a change of the row from before out, and a check of its key", async () => {
        const row = record(ALICE);
        await store.insert(row, patient);
        const tombstone = newTombstone(ALICE, BLOCK, row);
        await store.replace(tombstone, row, patient);
        expect(await other.replace(rekeyed(row), row, patient)).toBe(false);
        expect(await other.remove(ALICE, row, patient)).toBe(false);
        expect(await other.recordCheck(row, VALID, patient)).toBe(false);
        expect(await store.find(ALICE, patient)).toEqual(tombstone);
      });

      it("is removed only as it was seen", async () => {
        const first = newTombstone(ALICE, BLOCK);
        await store.insert(first, patient);
        expect(await other.remove(ALICE, first, patient)).toBe(true);
        const second = newTombstone(ALICE, { ...BLOCK, reason: null });
        await store.insert(second, patient);
        expect(await other.remove(ALICE, first, patient)).toBe(false);
        expect(await store.find(ALICE, patient)).toEqual(second);
      });

      it("is no key: it is neither scanned nor counted, and only found among the blocked, beyond one page", async () => {
        const blocked = numbered("blocked-", MANY).map((user) => newTombstone(user, BLOCK));
        for (const tombstone of blocked) await store.insert(tombstone, patient);
        const row = record(ALICE);
        await store.insert(row, patient);
        expect(await all(other.scan(() => patient))).toEqual([row]);
        expect(await other.count(patient)).toBe(1);
        expect(byUser(await all(other.scanBlocked(() => patient)))).toEqual(byUser(blocked));
        expect(await all(other.scanDueLimits(NOW, () => patient))).toEqual([]);
      });
    });

    describe("count", () => {
      it("follows what is inserted and removed", async () => {
        expect(await store.count(patient)).toBe(0);
        const rows = rowsFor(numbered("user-", 5));
        await store.insertMany(rows, patient);
        expect(await other.count(patient)).toBe(5);
        for (const row of rows.slice(0, 2)) await other.remove(row.userId, row, patient);
        expect(await store.count(patient)).toBe(3);
      });
    });

    describe("ping", () => {
      it("resolves when the store answers", async () => {
        await expect(store.ping(patient)).resolves.toBeUndefined();
      });
    });

    describe("seal checks", () => {
      it("are none in an empty store", async () => {
        expect(await store.keyCheckValues(patient)).toEqual([]);
      });

      it("let the first of two win who both saw that there is none", async () => {
        expect(await store.keyCheckValues(patient)).toEqual([]);
        expect(await other.keyCheckValues(patient)).toEqual([]);
        const first = { kid: "kid-one", value: "eyJ.one" };
        expect(await other.insertFirstKeyCheckValue(first, patient)).toBe(true);
        expect(await store.insertFirstKeyCheckValue({ kid: "kid-two", value: "eyJ.two" }, patient)).toBe(false);
        expect(await store.keyCheckValues(patient)).toEqual([first]);
      });

      it("refuse a second one of the same master key", async () => {
        const first = { kid: "kid-one", value: "eyJ.one" };
        expect(await store.insertFirstKeyCheckValue(first, patient)).toBe(true);
        expect(await store.insertFirstKeyCheckValue({ kid: "kid-one", value: "eyJ.two" }, patient)).toBe(false);
        expect(await other.keyCheckValues(patient)).toEqual([first]);
      });

      it("are one for each master key while there are several", async () => {
        const first = { kid: "kid-one", value: "eyJ.one" };
        const second = { kid: "kid-two", value: "eyJ.two" };
        await store.insertFirstKeyCheckValue(first, patient);
        await store.addKeyCheckValue(second, patient);
        await other.addKeyCheckValue({ kid: "kid-two", value: "eyJ.three" }, patient);
        const checks = await other.keyCheckValues(patient);
        expect(checks.toSorted((a, b) => a.kid.localeCompare(b.kid))).toEqual([first, second]);
        await other.removeKeyCheckValue("kid-one", patient);
        await other.removeKeyCheckValue("kid-one", patient);
        expect(await store.keyCheckValues(patient)).toEqual([second]);
        expect(await store.insertFirstKeyCheckValue(first, patient)).toBe(false);
      });

      it("are no keys: the count and the rows do not show them", async () => {
        await store.insertFirstKeyCheckValue({ kid: "kid-one", value: "eyJ.one" }, patient);
        expect(await store.count(patient)).toBe(0);
        expect(await all(store.scan(() => patient))).toEqual([]);
      });
    });

    describe("with a signal that is aborted already", () => {
      const reason = new Error("the caller has gone");
      const gone = AbortSignal.abort(reason);
      const row = record(ALICE);
      const carol = record(parseUserId("carol"));
      const calls: Readonly<
        Record<
          keyof Omit<Store, "close" | "requireAtomicChanges" | "hasAtomicChanges" | "assertAbsent" | "eraseRemoved">,
          (to: Store) => Promise<unknown>
        >
      > = {
        find: (to) => to.find(ALICE, gone),
        findMany: (to) => to.findMany([ALICE], gone),
        insert: (to) => to.insert(carol, gone),
        insertMany: (to) => to.insertMany([carol], gone),
        replace: (to) => to.replace(rekeyed(row), row, gone),
        remove: (to) => to.remove(ALICE, row, gone),
        recordCheck: (to) => to.recordCheck(row, VALID, gone),
        scan: (to) => all(to.scan(() => gone)),
        scanDueLimits: (to) => all(to.scanDueLimits(NOW, () => gone)),
        scanBlocked: (to) => all(to.scanBlocked(() => gone)),
        count: (to) => to.count(gone),
        ping: (to) => to.ping(gone),
        keyCheckValues: (to) => to.keyCheckValues(gone),
        insertFirstKeyCheckValue: (to) => to.insertFirstKeyCheckValue({ kid: "kid", value: "eyJ" }, gone),
        addKeyCheckValue: (to) => to.addKeyCheckValue({ kid: "kid", value: "eyJ" }, gone),
        removeKeyCheckValue: (to) => to.removeKeyCheckValue("kid", gone),
      };

      it.each(Object.entries(calls))("%s rejects with its reason and does nothing", async (_, call) => {
        await store.insert(row, patient);
        await expect(call(store)).rejects.toBe(reason);
        expect(await all(other.scan(() => patient))).toEqual([row]);
        expect(await other.keyCheckValues(patient)).toEqual([]);
      });
    });

    it("decides every change by the version that was seen, whatever came before", async () => {
      const users = [ALICE, BOB];
      const step = fc.record({
        act: fc.constantFrom("insert", "replace", "remove", "check"),
        user: fc.constantFrom(...users),
        /** Selects a version by its age; 0 is the latest. */
        age: fc.nat({ max: 3 }),
        by: fc.boolean(),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
          for (const user of users) {
            const row = await store.find(user, patient);
            if (row !== undefined) await store.remove(user, row, patient);
          }
          const present = new Map<UserId, KeyRecord>();
          const versions = new Map(users.map((user) => [user, [record(user)]]));
          for (const { act, user, age, by } of steps) {
            const connection = by ? store : other;
            const known = versions.get(user) ?? [];
            const base = known.at(-1 - age) ?? record(user);
            const current = present.get(user);
            const isCurrent = current !== undefined && current.id === base.id && current.revision === base.revision;
            const next = act === "insert" ? record(user) : rekeyed(base);
            const done = await {
              insert: () => connection.insert(next, patient),
              replace: () => connection.replace(next, base, patient),
              remove: () => connection.remove(user, base, patient),
              check: () => connection.recordCheck(base, VALID, patient),
            }[act]();
            expect(done).toBe(act === "insert" ? current === undefined : isCurrent);
            if (!done) continue;
            if (act === "remove") present.delete(user);
            else if (act === "check") present.set(user, { ...base, lastCheck: VALID, lastValidated: NOW });
            else {
              present.set(user, next);
              known.push(next);
            }
          }
          for (const user of users) expect(await store.find(user, patient)).toEqual(present.get(user));
        }),
        { numRuns: 30 },
      );
    });
  });
}

let keys = 0;

function newKey(): ApiKey {
  keys += 1;
  const key = ApiKey.parse(`sk-or-v1-${keys.toString(16).padStart(64, "0")}`);
  if (key === undefined) throw new Error("a key of the usual shape was refused");
  return key;
}

/** A new row. A store keeps the sealed value unchanged; only the sealer interprets it. */
function record(user: UserId, key = newKey()): KeyRecord {
  return newRecord(user, { key, sealed: `eyJ0eXAi.${key.hash}...`, origin: "manual", now: NOW });
}

/** A new row for each user: each with its own key, or all with the given one. */
function rowsFor(users: readonly UserId[], key?: ApiKey): readonly KeyRecord[] {
  return users.map((user) => record(user, key));
}

function rekeyed(row: KeyRecord): KeyRecord {
  const key = newKey();
  return withKey(row, { key, sealed: `eyJ0eXAi.${key.hash}...`, origin: "key.txt", now: NOW });
}

function numbered(prefix: string, count: number): readonly UserId[] {
  return Array.from({ length: count }, (_, index) => parseUserId(prefix + String(index).padStart(4, "0")));
}

function byUser<Row extends StoredRow>(rows: readonly Row[]): ReadonlyMap<string, Row> {
  expect(new Set(rows.map((row) => row.userId)).size).toBe(rows.length);
  return new Map(rows.map((row) => [row.userId, row]));
}

async function all<Row extends StoredRow>(rows: AsyncIterable<Row>): Promise<readonly Row[]> {
  const collected: Row[] = [];
  for await (const row of rows) collected.push(row);
  return collected;
}

function withLimitDue(user: UserId, at: string): KeyRecord {
  return {
    ...record(user),
    ...NO_TERMS,
    name: "keyctl/x",
    generation: 1,
    limitDue: { limit: 12.34, at },
    restrictions: { guardrails: [], byok: ["byok-1"] },
  };
}

function inOrder(rows: readonly KeyRecord[]): readonly KeyRecord[] {
  return rows.toSorted((one, other) => (one.userId < other.userId ? -1 : 1));
}
