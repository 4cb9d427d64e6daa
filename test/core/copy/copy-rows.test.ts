import { keyIn } from "../../../src/core/model/tombstone.ts";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ApiKey } from "../../../src/core/model/api-key.ts";
import { KeyctlError } from "../../../src/core/model/errors.ts";
import type { Recorded } from "../../../src/core/ports/journal.ts";
import { newRecord } from "../../../src/core/model/key-record.ts";
import type { KeyRecord } from "../../../src/core/model/key-record.ts";
import { KeyManager } from "../../../src/core/manager/manager.ts";
import type { KeyStore, Sealer } from "../../../src/core/ports/stores-and-sources.ts";
import type { HistoryOutcome } from "../../../src/core/copy/copy-history.ts";
import type { CopyOutcome } from "../../../src/core/copy/copy-rows.ts";
import { assertCanSeal, loadVerifiedSealer } from "../../../src/core/sealing/verify-master-keys.ts";
import type { SealingSetup } from "../../../src/core/sealing/verify-master-keys.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { masterKey } from "../../../src/encryption/jwe.ts";
import { createSealer } from "../../../src/encryption/sealer.ts";
import { memoryStore, noOpenRouter } from "../../support/memory/store.ts";
import type { MemoryStore } from "../../support/memory/store.ts";
import type { CopyOptions } from "../../../src/core/manager/manager-options.ts";

const NOW = "2026-11-22T02:14:07.113Z";
const first = masterKey(Buffer.alloc(32, 1));
const second = masterKey(Buffer.alloc(32, 2));
const sealer = createSealer(first);
const signal = new AbortController().signal;
const KEY = keyEnding("b465");
const OTHER = keyEnding("91aa");

function keyEnding(tail: string): ApiKey {
  const key = ApiKey.parse(`sk-or-v1-${tail.padStart(64, "0")}`);
  if (key === undefined) throw new Error(`${tail} ends no key`);
  return key;
}

function record(user: string, key = KEY, seals: Sealer = sealer): KeyRecord {
  const id = parseUserId(user);
  return newRecord(id, { key, sealed: seals.seal(key, id), origin: "manual", now: NOW });
}

const cleared = (user: string, key = KEY): KeyRecord => ({ ...record(user, key), keyEncrypted: key.reveal() });
const unreadable = (user: string): KeyRecord => ({ ...record(user), keyEncrypted: "what is this?" });

interface Shop {
  readonly store: MemoryStore;
  /** What the manager uses in place of `store`. */
  readonly seenAs?: KeyStore;
  /** Null: there are no master keys. */
  readonly seals?: Sealer | null;
}

const nothingIsMade = () => Promise.reject(new Error("a copy makes no master keys"));

function managerOver({ store, seenAs = store, seals = sealer }: Shop): KeyManager {
  const lock: SealingSetup = {
    checks: store,
    masterKeys: {
      place: "nowhere",
      load: async () => seals ?? undefined,
      generate: nothingIsMade,
      addActive: nothingIsMade,
      remove: nothingIsMade,
      assertRemovable: nothingIsMade,
    },
    mayGenerate: false,
    pause: nothingIsMade,
  };
  return new KeyManager({
    ...noOpenRouter,
    store: seenAs,
    journal: store,
    historyStore: store,
    lock,
    sealer: (purpose, patience) =>
      loadVerifiedSealer(lock, purpose === "seal" || purpose === "prepare" ? "seal" : "open", patience),
    assertCanSeal: (patience) => assertCanSeal(lock, patience),
    sources: [],
    clock: { now: () => new Date(NOW) },
    log: () => {
      throw new Error("a copy has no log lines");
    },
    hasManagementKey: () => false,
    autoProvision: false,
    timeoutMs: 30_000,
  });
}

type OutcomeOfUser = Exclude<CopyOutcome, HistoryOutcome>;

/** Without what became of the history. */
async function copied(from: Shop, to: Shop, options: CopyOptions = {}): Promise<readonly OutcomeOfUser[]> {
  const all: OutcomeOfUser[] = [];
  for await (const outcomes of managerOver(from).copyTo(managerOver(to), options))
    all.push(...outcomes.filter((each) => each.kind !== "history"));
  return all;
}

/** `alice copied`, `alice verified`. */
function wordsOf(outcomes: readonly OutcomeOfUser[]): readonly string[] {
  return outcomes.map((each) => `${userOf(each)} ${each.outcome}`);
}

function userOf(each: OutcomeOfUser): string {
  return each.kind === "row" ? each.row.userId : `${each.kind} of ${each.userId}`;
}

function codesOf(outcomes: readonly OutcomeOfUser[]): readonly string[] {
  return outcomes.flatMap((each) =>
    each.error === null ? [] : [`${userOf(each)} ${each.outcome} ${each.error.code}`],
  );
}

/** The outcomes when the stores are changed between the copy and the proof. */
async function changedBetween(from: Shop, to: Shop, change: () => void): Promise<readonly OutcomeOfUser[]> {
  const all: OutcomeOfUser[] = [];
  for await (const outcomes of managerOver(from).copyTo(managerOver(to))) {
    if (all.length === 0) change();
    all.push(...outcomes.filter((each) => each.kind !== "history"));
  }
  return all;
}

async function sealedStore(seals: Sealer, ...rows: readonly KeyRecord[]): Promise<MemoryStore> {
  const store = memoryStore(...rows);
  await store.insertFirstKeyCheckValue(seals.newSealCheck(), signal);
  return store;
}

describe("a copy", () => {
  const rows = fc.uniqueArray(fc.tuple(fc.integer({ min: 0, max: 30 }), fc.constantFrom("a", "b", "c")), {
    selector: ([user]) => user,
  });
  const kinds = [record, cleared];
  const stored = (drawn: readonly (readonly [number, string])[]) =>
    drawn.map(([user, tail], index) => (kinds[index % 2] ?? record)(`user-${user}`, keyEnding(tail)));

  it("brings what is missing as it is, changes nothing that is there, and done again changes nothing", async () => {
    await fc.assert(
      fc.asyncProperty(rows, rows, async (inSource, inDestination) => {
        const from = { store: memoryStore(...stored(inSource)) };
        const to = { store: memoryStore(...stored(inDestination)) };
        const [source, before] = [new Map(from.store.rows), new Map(to.store.rows)];
        const outcomes = await copied(from, to);

        expect(to.store.rows).toEqual(new Map([...source, ...before]));
        expect(from.store.rows).toEqual(source);
        const count = (wanted: string) => outcomes.filter(({ outcome }) => outcome === wanted).length;
        expect(count("copied") + count("kept") + count("conflict")).toBe(source.size);
        expect(count("verified") + count("conflict")).toBe(source.size);
        const differ = [...source.values()].filter((row) => {
          const there = before.get(row.userId);
          return there !== undefined && keyIn(there)?.keyHash !== keyIn(row)?.keyHash;
        });
        expect(count("conflict")).toBe(differ.length);

        const after = new Map(to.store.rows);
        const again = await copied(from, to);
        expect(to.store.rows).toEqual(after);
        expect(again.filter(({ outcome }) => outcome === "copied")).toEqual([]);
        expect(codesOf(again)).toEqual(codesOf(outcomes));
      }),
      { numRuns: 60 },
    );
  });

  it("only says what it would do when told so, and then does just that", async () => {
    await fc.assert(
      fc.asyncProperty(rows, rows, async (inSource, inDestination) => {
        const from = { store: memoryStore(...stored(inSource)) };
        const to = { store: memoryStore(...stored(inDestination)) };
        const before = new Map(to.store.rows);
        const said = await copied(from, to, { dryRun: true });
        expect(to.store.rows).toEqual(before);
        expect(await to.store.keyCheckValues(signal)).toEqual([]);
        const done = await copied(from, to);
        expect(wordsOf(said)).toEqual(wordsOf(done.slice(0, said.length)));
      }),
      { numRuns: 60 },
    );
  });

  it("gives each batch after it is stored, and proves every row at the end", async () => {
    const users = Array.from({ length: 1_203 }, (_, index) => `user-${String(index).padStart(4, "0")}`);
    const from = { store: memoryStore(...users.map((user) => record(user))) };
    const to = { store: memoryStore() };
    const sizes: number[] = [];
    for await (const outcomes of managerOver(from).copyTo(managerOver(to))) {
      if (outcomes[0]?.kind === "row") sizes.push(outcomes.length);
      expect(outcomes.filter((each) => each.kind === "row" && !to.store.rows.has(each.row.userId))).toEqual([]);
    }
    expect(sizes).toEqual([500, 500, 203, 500, 500, 203]);
  });

  it("is kept where the key is the same though it is re-encrypted, or in clear", async () => {
    const from = { store: memoryStore(record("alice"), cleared("bob"), record("carol")) };
    const to = { store: memoryStore(record("alice"), record("bob"), cleared("carol")) };
    expect(wordsOf(await copied(from, to))).toEqual([
      "alice kept",
      "bob kept",
      "carol kept",
      "alice verified",
      "bob verified",
      "carol verified",
    ]);
  });

  it("brings a row that holds no readable key as it is, and its proof says so", async () => {
    const row = unreadable("alice");
    const from = { store: memoryStore(row, record("bob")) };
    const to = { store: memoryStore() };
    const outcomes = await copied(from, to);
    expect(wordsOf(outcomes)).toEqual(["alice copied", "bob copied", "alice unverified", "bob verified"]);
    expect(codesOf(outcomes)).toEqual(["alice unverified ROW_UNREADABLE"]);
    expect(to.store.rows.get(row.userId)).toEqual(row);
  });

  it("goes on where it was cut off", async () => {
    const users = Array.from({ length: 1_203 }, (_, index) => `user-${String(index).padStart(4, "0")}`);
    const from = { store: memoryStore(...users.map((user) => record(user))) };
    const to = { store: memoryStore() };
    const failing: KeyStore = {
      ...to.store,
      insertMany: async (records, patience) => {
        if (to.store.rows.size >= 1_000) throw new KeyctlError("STORE_UNAVAILABLE", "it is gone");
        return to.store.insertMany(records, patience);
      },
    };
    await expect(copied(from, { ...to, seenAs: failing })).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    const outcomes = await copied(from, to);
    const count = (wanted: string) => outcomes.filter(({ outcome }) => outcome === wanted).length;
    expect([count("kept"), count("copied"), count("verified")]).toEqual([1_000, 203, 1_203]);
    expect([...to.store.rows.values()]).toEqual([...from.store.rows.values()]);
  });

  it("whose answer was lost is settled by reading, not sent again", async () => {
    const alice = record("alice", OTHER);
    const from = { store: memoryStore(record("alice"), record("bob")) };
    const to = { store: memoryStore(alice) };
    let inserts = 0;
    const forgetful: KeyStore = {
      ...to.store,
      insertMany: async (records, patience) => {
        inserts += 1;
        await to.store.insertMany(records, patience);
        throw new KeyctlError("STORE_UNAVAILABLE", "no answer came", { mayHaveHappened: true });
      },
    };
    const outcomes = await copied(from, { ...to, seenAs: forgetful });
    expect(wordsOf(outcomes)).toEqual(["alice conflict", "bob copied", "bob verified"]);
    expect([inserts, to.store.rows.get(alice.userId)]).toEqual([1, alice]);
  });
});

describe("a conflict", () => {
  it("is named with what is there, which stays; the rest is copied and proven", async () => {
    const there = record("alice", OTHER);
    const from = { store: memoryStore(record("alice"), record("bob")) };
    const to = { store: memoryStore(there) };
    const outcomes = await copied(from, to);
    expect(wordsOf(outcomes)).toEqual(["alice conflict", "bob copied", "bob verified"]);
    expect(outcomes[0]?.error).toMatchObject({
      code: "KEY_EXISTS",
      message: "user alice has another key in the destination (***************91aa, from manual); it stays",
    });
    expect(to.store.rows.get(there.userId)).toEqual(there);
  });

  it("is what two rows of one user in the destination are", async () => {
    const twins = [record("alice"), record("alice")];
    const to = { store: memoryStore(...twins) };
    const findMany: KeyStore["findMany"] = async () => twins;
    const outcomes = await copied(
      { store: memoryStore(record("alice")) },
      { ...to, seenAs: { ...to.store, findMany } },
    );
    expect(codesOf(outcomes)).toEqual(["alice conflict CONFLICT"]);
  });

  it("is what another program makes that changes the destination under our hands", async () => {
    const to = { store: memoryStore() };
    const outcomes = await copied(
      { store: memoryStore(record("alice")) },
      { ...to, seenAs: { ...to.store, insertMany: async (records) => records.map(() => false) } },
    );
    expect(codesOf(outcomes)).toEqual(["alice conflict CONFLICT"]);
  });
});

describe("the proof", () => {
  it("names what is not there, and what is another key by now", async () => {
    const from = { store: memoryStore(record("alice"), record("bob"), record("carol"), record("dave")) };
    const to = { store: memoryStore() };
    const outcomes = await changedBetween(from, to, () => {
      to.store.rows.delete(parseUserId("alice"));
      to.store.rows.set(parseUserId("bob"), record("bob", OTHER));
      from.store.rows.set(parseUserId("erin"), record("erin"));
      from.store.rows.delete(parseUserId("dave"));
    });
    expect(wordsOf(outcomes.slice(4))).toEqual([
      "alice unverified",
      "bob unverified",
      "carol verified",
      "erin unverified",
    ]);
    expect(codesOf(outcomes)).toEqual([
      "alice unverified CONFLICT",
      "bob unverified CONFLICT",
      "erin unverified CONFLICT",
    ]);
    expect(outcomes.flatMap(({ error }) => error?.retryable ?? [])).toEqual([true, true, true]);
  });

  it("opens the row of the destination, whatever its hash says", async () => {
    const from = { store: memoryStore(record("alice"), record("bob")) };
    const damaged = { ...record("alice"), keyEncrypted: `${record("alice").keyEncrypted.slice(0, -6)}AAAAAA` };
    const lying = { ...record("bob", OTHER), keyHash: KEY.hash };
    const outcomes = await copied(from, { store: memoryStore(damaged, lying) });
    expect(wordsOf(outcomes).slice(0, 2)).toEqual(["alice kept", "bob kept"]);
    expect(codesOf(outcomes)).toEqual(["alice unverified ROW_UNREADABLE", "bob unverified CONFLICT"]);
  });

  it("goes by the hash where the row of the source does not open", async () => {
    const damaged = { ...record("alice"), keyEncrypted: `${record("alice").keyEncrypted.slice(0, -6)}AAAAAA` };
    const outcomes = await copied({ store: memoryStore(damaged) }, { store: memoryStore(record("alice")) });
    expect(wordsOf(outcomes)).toEqual(["alice kept", "alice verified"]);
  });
});

const op = (user: string, nonce = "1".repeat(16)): Recorded => ({
  userId: parseUserId(user),
  at: NOW,
  kind: "op",
  n: 1,
  nonce,
  label: null,
  limit: null,
  limitReset: null,
  expiresAt: null,
  workspace: null,
  deliberate: false,
});
const saved = (user: string): Recorded => ({
  userId: parseUserId(user),
  at: NOW,
  kind: "out",
  n: 1,
  outcome: "saved",
  hash: KEY.hash,
  upstreamHash: null,
});
const made = (user: string): KeyRecord => ({ ...record(user), generation: 1 });
const remember = async (store: MemoryStore, ...entries: readonly Recorded[]) => {
  for (const entry of entries) await store.insertEntry(entry, signal);
};

describe("the journal of a copy", () => {
  it("is there before the first row, with the id of the deployment, and is proven before the rows", async () => {
    const from = { store: memoryStore(made("alice")) };
    await from.store.adoptDeployment("0123456789abcdef", signal);
    await remember(from.store, op("alice"), saved("alice"));
    const to = { store: memoryStore() };
    const seenAs: KeyStore = {
      ...to.store,
      async insertMany(rows, patience) {
        expect(to.store.records).toEqual(from.store.records);
        expect(await to.store.deployment(patience)).toBe("0123456789abcdef");
        return to.store.insertMany(rows, patience);
      },
    };
    expect(wordsOf(await copied(from, { ...to, seenAs }))).toEqual([
      "journal of alice copied",
      "alice copied",
      "journal of alice verified",
      "alice verified",
    ]);
  });

  it.each([false, true])("of another deployment refuses all, with dryRun: %j", async (dryRun) => {
    const from = { store: memoryStore(made("alice"), record("bob")) };
    await from.store.adoptDeployment("0123456789abcdef", signal);
    await remember(from.store, op("alice"), saved("alice"));
    const to = { store: memoryStore() };
    await remember(to.store, op("zoe"));
    await expect(copied(from, to, { dryRun })).rejects.toMatchObject({ code: "CONFLICT" });
    expect([to.store.rows.size, to.store.records.size]).toEqual([0, 1]);
  });

  it.each([false, true])(
    "that says something else there keeps that user's row away, with dryRun: %j",
    async (dryRun) => {
      const from = { store: memoryStore(made("alice"), made("bob")) };
      await remember(from.store, op("alice"), saved("alice"), op("bob"), saved("bob"));
      const to = { store: memoryStore() };
      await remember(to.store, op("alice", "2".repeat(16)));
      const outcomes = await copied(from, to, { dryRun });
      expect(codesOf(outcomes)).toEqual(["journal of alice conflict CONFLICT", "alice conflict CONFLICT"]);
      expect([...to.store.rows.keys()]).toEqual(dryRun ? [] : ["bob"]);
    },
  );

  it.each([false, true])("that ended a key there keeps it from coming back, with dryRun: %j", async (dryRun) => {
    const from = { store: memoryStore(made("alice"), made("bob")) };
    await remember(from.store, op("alice"), saved("alice"), op("bob"), saved("bob"));
    const to = { store: memoryStore() };
    await copied(from, to);
    const purged: Recorded = {
      userId: parseUserId("alice"),
      at: NOW,
      kind: "rev",
      n: 1,
      reason: "purged",
      revoke: false,
      block: false,
    };
    await remember(to.store, purged);
    to.store.rows.delete(parseUserId("alice"));
    const outcomes = await copied(from, to, { dryRun });
    expect(codesOf(outcomes)).toEqual(["alice conflict CONFLICT"]);
    expect([...to.store.rows.keys()]).toEqual(["bob"]);
    await remember(from.store, purged);
    expect(codesOf(await copied(from, to))).toEqual([]);
  });
});

describe("the master keys of a copy", () => {
  const both = createSealer(first, [second]);
  const newOne = createSealer(second);

  it("must open the source", async () => {
    const from = { store: await sealedStore(newOne, record("alice", KEY, newOne)) };
    const to = { store: memoryStore() };
    await expect(copied(from, to)).rejects.toMatchObject({
      code: "MASTER_KEY_WRONG",
      message: "the source is sealed with other master keys; nothing was copied",
    });
    expect([to.store.rows.size, await to.store.keyCheckValues(signal)]).toEqual([0, []]);
  });

  it.each([false, true])("must open the destination, which is named, with dryRun: %j", async (dryRun) => {
    const from = { store: await sealedStore(sealer, record("alice")) };
    const to = { store: await sealedStore(newOne) };
    const checks = await to.store.keyCheckValues(signal);
    await expect(copied(from, to, { dryRun })).rejects.toMatchObject({
      code: "MASTER_KEY_WRONG",
      message: "the destination is sealed with other master keys; nothing was copied",
    });
    expect([to.store.rows.size, await to.store.keyCheckValues(signal)]).toEqual([0, checks]);
  });

  it.each([false, true])(
    "are needed for a destination, also where all is in clear, with dryRun: %j",
    async (dryRun) => {
      const from = { store: memoryStore(cleared("alice")), seals: null };
      const to = { store: memoryStore(), seals: null };
      await expect(managerOver(from).requireMasterKeys()).resolves.toBeUndefined();
      await expect(copied(from, to, { dryRun })).rejects.toMatchObject({ code: "MASTER_KEY_MISSING" });
      expect([to.store.rows.size, await to.store.keyCheckValues(signal)]).toEqual([0, []]);
    },
  );

  it("may be two while a rekey of the source is under way: the destination learns both", async () => {
    const from = { store: await sealedStore(sealer, record("alice"), record("bob", KEY, newOne)), seals: both };
    await from.store.addKeyCheckValue(newOne.newSealCheck(), signal);
    const to = { store: memoryStore(), seals: both };
    expect(wordsOf(await copied(from, to)).slice(2)).toEqual(["alice verified", "bob verified"]);
    const kids = (await to.store.keyCheckValues(signal)).map(({ kid }) => kid);
    expect(kids.toSorted()).toEqual([first.kid, second.kid].toSorted());
  });

  it("may become two while it runs", async () => {
    const from = { store: await sealedStore(sealer, record("alice")), seals: both };
    const to = { store: memoryStore(), seals: both };
    for await (const [outcome] of managerOver(from).copyTo(managerOver(to))) {
      if (outcome?.outcome === "copied") await from.store.addKeyCheckValue(newOne.newSealCheck(), signal);
    }
    expect(await to.store.keyCheckValues(signal)).toHaveLength(2);
  });

  it("are named again before each batch, so that none is retired beside a long copy", async () => {
    const users = Array.from({ length: 501 }, (_, index) => `user-${String(index).padStart(3, "0")}`);
    const from = { store: await sealedStore(sealer, ...users.map((user) => record(user))), seals: both };
    const store = memoryStore();
    const named: (readonly string[])[] = [];
    const seenAs: KeyStore = {
      ...store,
      async insertMany(rows, patience) {
        named.push((await store.keyCheckValues(signal)).map(({ kid }) => kid));
        await store.removeKeyCheckValue(first.kid, signal);
        await store.addKeyCheckValue(newOne.newSealCheck(), signal);
        return store.insertMany(rows, patience);
      },
    };
    await copied(from, { store, seenAs, seals: both });
    expect(named).toHaveLength(2);
    expect(named.every((kids) => kids.includes(first.kid))).toBe(true);
  });

  it("of two stores are joined by a set of both", async () => {
    const from = { store: await sealedStore(newOne, record("alice", KEY, newOne)), seals: both };
    const to = { store: await sealedStore(sealer, record("bob")), seals: both };
    expect(wordsOf(await copied(from, to))).toEqual(["alice copied", "alice verified"]);
  });
});
