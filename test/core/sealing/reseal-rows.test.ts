import { keyIn } from "../../../src/core/model/tombstone.ts";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ApiKey } from "../../../src/core/model/api-key.ts";
import { KeyctlError } from "../../../src/core/model/errors.ts";
import { newRecord, NO_TERMS, NOT_RENEWED, withKey } from "../../../src/core/model/key-record.ts";
import type { KeyRecord, Previous } from "../../../src/core/model/key-record.ts";
import { KeyManager } from "../../../src/core/manager/manager.ts";
import type {
  KeyStore,
  MasterKeys,
  KeyCheckValue,
  KeyCheckValues,
  Sealer,
} from "../../../src/core/ports/stores-and-sources.ts";
import type { RekeyProgress } from "../../../src/core/sealing/reseal-rows.ts";
import { sealerCache } from "../../../src/core/sealing/sealer-cache.ts";
import { loadVerifiedSealer } from "../../../src/core/sealing/verify-master-keys.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import type { UserId } from "../../../src/core/model/user-id.ts";
import { masterKey } from "../../../src/encryption/jwe.ts";
import type { MasterKey } from "../../../src/encryption/jwe.ts";
import { createSealer } from "../../../src/encryption/sealer.ts";
import { memoryHistory } from "../../support/memory/history.ts";
import { memoryStore, noOpenRouter } from "../../support/memory/store.ts";
import type { RekeyOptions } from "../../../src/core/manager/manager-options.ts";

const EARLIER = "2025-10-05T09:00:00.000Z";
const NOW = "2026-11-24T12:00:00.000Z";
const OLD = masterKey(Buffer.alloc(32, 1));
const FOREIGN = masterKey(Buffer.alloc(32, 99));

const userOf = (number: number): UserId => parseUserId(`user-${String(number).padStart(4, "0")}`);
const keyOf = (number: number): ApiKey => ApiKey.parse(`sk-or-v1-${String(number).padStart(64, "0")}`) as ApiKey;

/** Ways in which a row may stand in the database. */
const FORMS = ["old", "clear", "damaged", "nonsense", "missing master key"] as const;
type Form = (typeof FORMS)[number];
const READABLE: readonly Form[] = ["old", "clear"];

function rowOf(number: number, form: Form): KeyRecord {
  const user = userOf(number);
  const key = keyOf(number);
  const sealedBy = (master: MasterKey) => createSealer(master).seal(key, user);
  const value = {
    old: () => sealedBy(OLD),
    clear: () => key.reveal(),
    damaged: () => sealedBy(OLD).replace(/.....$/, "AAAAA"),
    nonsense: () => "what is this?",
    "missing master key": () => sealedBy(FOREIGN),
  }[form]();
  const row = newRecord(user, { key, sealed: value, origin: "manual", now: EARLIER });
  return form === "clear" ? { ...row, keyHash: null, keyTail: null, revision: null } : row;
}

/** A process that is killed: nothing that it would do afterwards is done. */
class Killed extends Error {}

/** What processes share: the rows, the checks and the file of master keys. */
class World {
  readonly store = memoryStore();
  checks = new Map<string, KeyCheckValue>();
  file: readonly [MasterKey, ...MasterKey[]] = [OLD];
  #next = 2;

  constructor(forms: readonly Form[]) {
    for (const [index, form] of forms.entries()) {
      const row = rowOf(index, form);
      this.store.rows.set(row.userId, row);
    }
    this.addCheckOf(OLD);
  }

  addCheckOf(key: MasterKey): void {
    this.checks.set(key.kid, createSealer(key).newSealCheck());
  }

  addKey(): string {
    const added = masterKey(Buffer.alloc(32, this.#next));
    this.#next += 1;
    this.file = [added, ...this.file];
    return added.kid;
  }

  removeKey(kid: string): void {
    const [active, ...others] = this.file;
    this.file = [active, ...others.filter((key) => key.kid !== kid)];
  }

  sealer(): Sealer {
    const [active, ...others] = this.file;
    return createSealer(active, others);
  }

  /** A process over all this; `before` each call to a port may throw. */
  process(before: (call: string) => void = () => {}) {
    const { store: rows } = this;
    const watched = <Port extends object>(port: Port): Port =>
      new Proxy(port, {
        get: (target, name: string) => {
          const member: unknown = Reflect.get(target, name);
          if (typeof member !== "function") return member;
          return (...words: unknown[]) => {
            before(name);
            return Reflect.apply(member, target, words);
          };
        },
      });
    const store: KeyStore = watched(rows);
    const checks: KeyCheckValues = watched({
      keyCheckValues: async () => [...this.checks.values()],
      insertFirstKeyCheckValue: async (check: KeyCheckValue) => {
        if (this.checks.size > 0) return false;
        this.checks.set(check.kid, check);
        return true;
      },
      addKeyCheckValue: async (check: KeyCheckValue) => {
        if (!this.checks.has(check.kid)) this.checks.set(check.kid, check);
      },
      removeKeyCheckValue: async (kid: string) => void this.checks.delete(kid),
    });
    const masterKeys: MasterKeys = watched({
      place: "master-keys.json",
      load: async () => this.sealer(),
      generate: async () => this.sealer(),
      addActive: async () => this.addKey(),
      remove: async (kid: string) => this.removeKey(kid),
      assertRemovable() {},
    });
    const lock = { checks, masterKeys, mayGenerate: true, pause: async () => {} };
    const clock = { now: () => new Date(NOW) };
    const manager = new KeyManager({
      store,
      journal: rows,
      historyStore: memoryHistory(),
      lock,
      sealer: sealerCache((purpose, signal) => loadVerifiedSealer(lock, purpose, signal), checks),
      sources: [],
      clock,
      log: () => {},
      ...noOpenRouter,
      hasManagementKey: () => false,
      autoProvision: false,
      assertCanSeal: async () => {},
      timeoutMs: 30_000,
    });
    return { manager, rekey: (options?: RekeyOptions) => resultOf(manager.rekey(options)) };
  }

  /** The master key of each row, by its own word. */
  kids(): readonly (string | undefined)[] {
    return [...this.store.rows.values()].map(({ keyEncrypted }) => this.sealer().kidOf(keyEncrypted));
  }
}

async function resultOf(steps: AsyncIterable<RekeyProgress>) {
  const failures: string[] = [];
  let last: RekeyProgress | undefined;
  for await (const step of steps) {
    failures.push(...step.failures.map(({ userId }) => userId));
    last = step;
  }
  if (last === undefined) throw new Error("a rekey says at least how it ended");
  return { ...last, failures };
}

/** Every row that can be opened holds the key that it held, sealed with the active master key; the others are as they were. */
function expectRekeyed(world: World, forms: readonly Form[]): void {
  const sealer = world.sealer();
  for (const [index, form] of forms.entries()) {
    const row = world.store.rows.get(userOf(index));
    if (!READABLE.includes(form)) {
      expect(row?.revision).toBe(1);
      continue;
    }
    const key = keyOf(index);
    expect(row === undefined ? undefined : sealer.open(row.keyEncrypted, row.userId).equals(key)).toBe(true);
    expect(row === undefined ? undefined : sealer.kidOf(row.keyEncrypted)).toBe(sealer.activeKid);
    expect(row).toMatchObject({ keyHash: key.hash, keyTail: key.tail, createdAt: EARLIER, origin: "manual" });
  }
}

const anyForms = fc.array(fc.constantFrom(...FORMS), { maxLength: 60 });

describe("rekey", () => {
  it("seals whatever opens with a new master key, leaves the rest as it is, and names it", async () => {
    await fc.assert(
      fc.asyncProperty(anyForms, async (forms) => {
        const world = new World(forms);
        const untouched = new Map(world.store.rows);
        const readable = forms.filter((form) => READABLE.includes(form)).length;
        const result = await world.process().rekey();
        expectRekeyed(world, forms);
        for (const [index, form] of forms.entries()) {
          const user = userOf(index);
          if (!READABLE.includes(form)) expect(world.store.rows.get(user)).toBe(untouched.get(user));
        }
        expect(result).toMatchObject({ total: forms.length, done: forms.length, resealed: readable, inClear: 0 });
        expect(result.unreadable).toBe(forms.length - readable);
        expect(result.failures).toHaveLength(forms.length - readable);
        expect(result.removableKids).toEqual(forms.includes("damaged") ? [] : [OLD.kid]);
        expect([...world.checks.keys()]).toEqual([world.file[0].kid]);
      }),
      { numRuns: 50 },
    );
  });

  it("changes nothing when it is done again with the same key", async () => {
    const world = new World(["old", "clear", "damaged", "nonsense"]);
    await world.process().rekey();
    const rows = new Map(world.store.rows);
    const again = await world.process().rekey({ kind: "keep-key" });
    expect(again).toMatchObject({ resealed: 0, unreadable: 2, activeKid: world.file[0].kid });
    expect(world.store.rows).toEqual(rows);
    expect(world.file).toHaveLength(2);
  });

  it("keeps all of a row but its seal", async () => {
    const world = new World(["old"]);
    const lastCheck = { at: EARLIER, verdict: "valid", reason: null } as const;
    const more = { generation: 3, settled: false, lastValidated: EARLIER, lastCheck, origin: "key.txt", revision: 7 };
    const before = { ...rowOf(0, "old"), ...more };
    world.store.rows.set(before.userId, before);
    await world.process().rekey();
    const row = world.store.rows.get(before.userId);
    expect(row).toEqual({ ...before, keyEncrypted: row?.keyEncrypted, revision: 8, updatedAt: NOW });
  });

  it("does not take over what is said of another key than the one that is there", async () => {
    const world = new World(["old"]);
    const lastCheck = { at: EARLIER, verdict: "valid", reason: null } as const;
    const about = { keyHash: keyOf(5).hash, keyTail: "0005", lastCheck, lastValidated: EARLIER, generation: 2 };
    world.store.rows.set(userOf(0), { ...rowOf(0, "old"), ...about, settled: false });
    await world.process().rekey();
    const { hash: keyHash, tail: keyTail } = keyOf(0);
    const nothing = { lastCheck: null, lastValidated: null, generation: 0, settled: true };
    expect(world.store.rows.get(userOf(0))).toMatchObject({ keyHash, keyTail, ...nothing });
  });

  it("makes no new master key when one was put in front by hand, or when told so", async () => {
    const world = new World(["old", "clear"]);
    world.addKey();
    await world.process().rekey();
    expect(world.file).toHaveLength(2);
    expectRekeyed(world, ["old", "clear"]);
    await world.process().rekey({ kind: "keep-key" });
    expect(world.file).toHaveLength(2);
    await world.process().rekey();
    expect(world.file).toHaveLength(3);
  });

  it("makes a new master key although a row cannot be decrypted", async () => {
    const world = new World(["old", "damaged", "missing master key"]);
    await world.process().rekey();
    await world.process().rekey();
    expect(world.file).toHaveLength(3);
  });

  it("changes nothing in a dry run, and counts what it would", async () => {
    const world = new World(["old", "clear", "nonsense"]);
    const before = [new Map(world.store.rows), new Map(world.checks), world.file];
    const result = await world.process().rekey({ dryRun: true });
    expect(result).toMatchObject({ resealed: 2, inClear: 1, unreadable: 1, activeKid: null, complete: true });
    const kept = await world.process().rekey({ dryRun: true, kind: "keep-key" });
    expect(kept).toMatchObject({ resealed: 1, activeKid: OLD.kid });
    expect([world.store.rows, world.checks, world.file]).toEqual(before);
  });

  it("asks first whether the store's changes are atomic", async () => {
    const world = new World(["old"]);
    const refusal = new KeyctlError("STORE_NOT_ATOMIC", "two changes may both win");
    const process = world.process((call) => {
      if (call === "requireAtomicChanges") throw refusal;
    });
    await expect(process.rekey()).rejects.toBe(refusal);
    expect(world.file).toHaveLength(1);
    expect(world.kids()).toEqual([OLD.kid]);
  });

  it("leaves a row that the store does not find again, names it, and seals the others", async () => {
    const world = new World(["old", "clear", "old", "clear"]);
    const replace: KeyStore["replace"] = world.store.replace.bind(world.store);
    const stuck = [userOf(0), userOf(1)];
    world.store.replace = async (record, seen, signal) =>
      !stuck.includes(record.userId) && (await replace(record, seen, signal));
    const result = await world.process().rekey();
    expect(result).toMatchObject({ complete: true, total: 4, resealed: 2, unreadable: 2, failures: stuck });
    expect(result.removableKids).toEqual([]);
    expect([...world.checks.keys()].toSorted()).toEqual([OLD.kid, world.file[0].kid].toSorted());
  });

  it("forgets a master key that is not in the set any more, once every row opens without it", async () => {
    const world = new World(["old", "missing master key"]);
    world.addCheckOf(FOREIGN);
    await world.process().rekey();
    expect([...world.checks.keys()]).toContain(FOREIGN.kid);
    world.store.rows.delete(userOf(1));
    await world.process().rekey();
    expect([...world.checks.keys()]).toEqual([OLD.kid]);
    const { activeKid } = await world.process().rekey();
    expect(activeKid).not.toBe(OLD.kid);
    expect([...world.checks.keys()]).toEqual([activeKid]);
  });

  it("seals no row with a master key that its place does not give back", async () => {
    const world = new World(["old"]);
    const process = world.process();
    world.addKey = () => "nowhere";
    await expect(process.rekey()).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    expect(world.kids()).toEqual([OLD.kid]);
    expect([...world.checks.keys()]).toEqual([OLD.kid]);
  });

  it("refuses master keys that are not those of the store", async () => {
    const world = new World(["old"]);
    world.file = [FOREIGN];
    await expect(world.process().rekey()).rejects.toMatchObject({ code: "MASTER_KEY_WRONG" });
    expect(world.file).toEqual([FOREIGN]);
  });
});

const rowIn = (world: World) => keyIn(world.store.rows.get(userOf(0)));

describe("rekey of a row whose change is not final", () => {
  const before = keyOf(900);
  const previousOf = (keyEncrypted: string | null): Previous => ({
    ...NO_TERMS,
    ...NOT_RENEWED,
    revoke: true,
    graceMs: null,
    generation: 1,
    keyHash: before.hash,
    keyEncrypted,
    keyTail: before.tail,
    origin: "auto-provisioned",
    createdAt: EARLIER,
    lastValidated: null,
    lastCheck: null,
  });
  const sealedBy = (master: MasterKey) => createSealer(master).seal(before, userOf(0));
  /** A world of one row, with this in the place of the key before. */
  const worldWith = (value: string | null, form: Form = "old") => {
    const world = new World([form]);
    const row = { ...rowOf(0, form), generation: 2, settled: false, previous: previousOf(value) };
    world.store.rows.set(row.userId, row);
    return world;
  };

  it.each([
    ["sealed", sealedBy(OLD)],
    ["in clear", before.reveal()],
  ])("seals the key before too, which was %s, and changes nothing else of it", async (_, value) => {
    const world = worldWith(value);
    const result = await world.process().rekey();
    const { previous = null } = rowIn(world) ?? {};
    const sealed = previous?.keyEncrypted ?? "";
    expect(previous).toEqual(previousOf(sealed));
    expect(world.sealer().kidOf(sealed)).toBe(result.activeKid);
    expect(world.sealer().open(sealed, userOf(0)).equals(before)).toBe(true);
    expectRekeyed(world, ["old"]);
    expect(result).toMatchObject({ resealed: 1, unreadable: 0, inClear: 0, removableKids: [OLD.kid] });
  });

  it("seals it where the key itself is sealed with the active master key already", async () => {
    const world = worldWith(null);
    await world.process().rekey();
    const row = rowIn(world);
    if (row === undefined) throw new Error("the row is gone");
    world.store.rows.set(row.userId, { ...row, previous: previousOf(sealedBy(OLD)) });
    const preview = await world.process().rekey({ kind: "keep-key", dryRun: true });
    expect(preview).toMatchObject({ resealed: 1 });
    const result = await world.process().rekey({ kind: "keep-key" });
    expect(result).toMatchObject({ resealed: 1, removableKids: [OLD.kid] });
    expect(world.sealer().kidOf(rowIn(world)?.previous?.keyEncrypted ?? "")).toBe(result.activeKid);
    expect(await world.process().rekey({ kind: "keep-key" })).toMatchObject({ resealed: 0 });
  });

  it("leaves one that does not open, names its user, and keeps the master key that it names", async () => {
    const damaged = sealedBy(OLD).replace(/.....$/, "AAAAA");
    const world = worldWith(damaged);
    const result = await world.process().rekey();
    expect(rowIn(world)?.previous?.keyEncrypted).toBe(damaged);
    expectRekeyed(world, ["old"]);
    expect(result).toMatchObject({ resealed: 1, unreadable: 1, failures: [userOf(0)], removableKids: [] });
  });

  it("keeps the master key of one beside a key that does not open", async () => {
    const world = worldWith(sealedBy(OLD), "nonsense");
    const result = await world.process().rekey();
    expect(result).toMatchObject({ resealed: 0, unreadable: 1, removableKids: [] });
    expect([...world.checks.keys()]).toContain(OLD.kid);
  });

  it("has nothing to do for a key before that a save left no copy of", async () => {
    const world = worldWith(null);
    expect(await world.process().rekey()).toMatchObject({ resealed: 1, unreadable: 0, removableKids: [OLD.kid] });
    expect(rowIn(world)?.previous).toEqual(previousOf(null));
  });
});

describe("rekey while others work", () => {
  it("loses no key that is saved under its hands, and seals it too", async () => {
    const world = new World(Array.from({ length: 40 }, () => "old"));
    let replaced = 0;
    const process = world.process((call) => {
      if (call !== "replace" || replaced >= 20) return;
      // Another program saves a newer key with the older master key, just before ours is compared.
      const user = userOf(replaced);
      const row = keyIn(world.store.rows.get(user));
      const key = keyOf(1000 + replaced);
      replaced += 1;
      if (row !== undefined)
        world.store.rows.set(
          user,
          withKey(row, { key, sealed: createSealer(OLD).seal(key, user), origin: "manual", now: NOW }),
        );
    });
    const result = await process.rekey();
    expect(result.removableKids).toEqual([OLD.kid]);
    for (let number = 0; number < 40; number += 1) {
      const user = userOf(number);
      const { keyEncrypted = "" } = world.store.rows.get(user) ?? {};
      const expected = keyOf(number < 20 ? 1000 + number : number);
      expect(world.sealer().open(keyEncrypted, user).equals(expected)).toBe(true);
      expect(world.sealer().kidOf(keyEncrypted)).toBe(world.file[0].kid);
    }
  });

  it.each([
    ["old", "keys are still being saved with an older master key", /^restart the programs that save them/],
    ["clear", "keys are still being saved in plain text", /; then: keyctl rekey --keep-key$/],
  ] as const)("ends as a conflict when somebody goes on writing keys as %s ones", async (form, message, hint) => {
    const world = new World(["old"]);
    const process = world.process((call) => {
      if (call === "scan") world.store.rows.set(userOf(0), rowOf(0, form));
    });
    await expect(process.rekey()).rejects.toMatchObject({
      code: "CONFLICT",
      message,
      hint: expect.stringMatching(hint),
      retryable: true,
    });
    expect(world.checks.has(OLD.kid)).toBe(true);
  });

  it("comes to one master key with another rekey, and loses none", async () => {
    const forms: readonly Form[] = Array.from({ length: 300 }, (_, index) => (index % 3 === 0 ? "clear" : "old"));
    const world = new World(forms);
    await Promise.all([world.process().rekey(), world.process().rekey(), world.process().rekey()]);
    expectRekeyed(world, forms);
    expect(world.file.map(({ kid }) => kid)).toContain(OLD.kid);
    expect([...world.checks.keys()]).toContain(world.file[0].kid);
  });

  it("is read by a program that has had its master keys since before", async () => {
    const forms: readonly Form[] = Array.from({ length: 50 }, () => "old");
    const world = new World(forms);
    const reader = world.process().manager;
    const failed: unknown[] = [];
    for await (const step of world.process().manager.rekey()) {
      for (const number of [0, step.done - 1, step.done, 49]) {
        const { error } = await reader.getStoredKey(userOf(Math.min(49, number)));
        if (error !== null) failed.push(error);
      }
    }
    expect(failed).toEqual([]);
  });
});

describe("rekey killed before any call to a port", () => {
  it("leaves every row readable, and the next run ends what was begun", async () => {
    const forms: readonly Form[] = Array.from({ length: 40 }, (_, index) => FORMS[index % 5] ?? "old");
    const calls: string[] = [];
    await new World(forms).process((call) => calls.push(call)).rekey();
    expect(calls.length).toBeGreaterThan(30);
    for (const point of calls.keys()) {
      const world = new World(forms);
      let number = 0;
      const killed = world.process(() => {
        number += 1;
        if (number > point) throw new Killed();
      });
      await expect(killed.rekey()).rejects.toBeInstanceOf(Killed);
      const results = await Promise.all(forms.map((_, index) => world.process().manager.getStoredKey(userOf(index))));
      expect(results.map(({ error }) => error === null)).toEqual(forms.map((form) => READABLE.includes(form)));
      await world.process().rekey();
      expectRekeyed(world, forms);
      expect([...world.checks.keys()]).toEqual([world.file[0].kid]);
    }
  });
});

describe("rekey --init", () => {
  it("names the master key in the store and seals no row", async () => {
    const world = new World(["clear", "clear"]);
    world.checks.clear();
    const rows = new Map(world.store.rows);
    const result = await world.process().rekey({ kind: "init" });
    expect(result).toMatchObject({ total: 2, inClear: 2, resealed: 0, activeKid: OLD.kid, wasSealed: false });
    expect(world.store.rows).toEqual(rows);
    expect([...world.checks.keys()]).toEqual([OLD.kid]);
    expect(await world.process().rekey({ kind: "init" })).toMatchObject({ wasSealed: true });
  });

  it("is MASTER_KEY_WRONG for a store that others seal", async () => {
    const world = new World(["old"]);
    world.file = [FOREIGN];
    await expect(world.process().rekey({ kind: "init" })).rejects.toMatchObject({ code: "MASTER_KEY_WRONG" });
  });
});
