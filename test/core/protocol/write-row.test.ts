import { describe, expect, it } from "vitest";
import { ApiKey } from "../../../src/core/model/api-key.ts";
import { KeyctlError } from "../../../src/core/model/errors.ts";
import { newRecord, withKey } from "../../../src/core/model/key-record.ts";
import type { KeyRecord } from "../../../src/core/model/key-record.ts";
import type { KeyStore } from "../../../src/core/ports/stores-and-sources.ts";
import { insertRow, insertRows, removeRow, replaceRow } from "../../../src/core/protocol/write-row.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import { KEY } from "../../support/fixtures/keys.ts";
import { memoryStore } from "../../support/memory/store.ts";
import type { MemoryStore } from "../../support/memory/store.ts";

const NOW = "2026-11-24T00:00:00.000Z";
const { signal } = new AbortController();
const cut = new KeyctlError("STORE_UNAVAILABLE", "the connection was closed", { mayHaveHappened: true });
const refused = new KeyctlError("STORE_UNAVAILABLE", "the connection was refused");

const alice = rowOf("alice", "one");
const anothers = rowOf("alice", "two");
const bob = rowOf("bob", "three");
const changed = withKey(alice, { key: keyOf(), sealed: "four", origin: "manual", now: NOW });
const changedByAnother = withKey(alice, { key: keyOf(), sealed: "five", origin: "manual", now: NOW });

type Write = (store: KeyStore) => Promise<unknown>;
const insert: Write = (store) => insertRow(store, alice, signal);
const replace: Write = (store) => replaceRow(store, changed, alice, signal);
const remove: Write = (store) => removeRow(store, alice.userId, alice, signal);
const insertBoth: Write = (store) => insertRows(store, [alice, bob], signal);

/** What is in the store when it is looked at after a write whose answer was lost. */
const SETTLED: readonly (readonly [string, Write, readonly KeyRecord[], unknown])[] = [
  ["an insert has landed", insert, [alice], true],
  ["an insert has lost to another row", insert, [anothers], false],
  ["a replacement has landed", replace, [changed], true],
  ["a replacement has lost to another change", replace, [changedByAnother], false],
  ["a replacement has lost to a removal", replace, [], false],
  ["a replacement has lost to another row", replace, [anothers], false],
  ["a removal has happened", remove, [], true],
  ["a removal has happened, and there is a new row", remove, [anothers], true],
  ["a removal has lost to a change", remove, [changed], false],
  ["all of many inserts have landed", insertBoth, [alice, bob], [true, true]],
  ["one of many inserts has lost to another row", insertBoth, [anothers, bob], [false, true]],
];

const OPEN: readonly (readonly [string, Write, readonly KeyRecord[], string])[] = [
  ["an insert", insert, [], "the key of user alice was written; it may still be applied"],
  ["a replacement", replace, [alice], "the key of user alice was written; it may still be applied"],
  ["a removal", remove, [alice], "the key of user alice was removed; it may still be deleted"],
  ["many inserts", insertBoth, [], "the keys of user alice and 1 more were written; they may still be applied"],
  ["one of many inserts", insertBoth, [alice], "the key of user bob was written; it may still be applied"],
];

describe("a write whose answer is lost", () => {
  it.each(SETTLED)("is settled by reading: %s", async (_, write, rows, outcome) => {
    const { store, writes } = losing(cut, rows);
    expect(await write(store)).toEqual(outcome);
    expect(writes()).toBe(1);
  });

  it.each(OPEN)("is left alone when what is seen decides nothing: %s", async (_, write, rows, sentence) => {
    const { store, writes } = losing(cut, rows);
    await expect(write(store)).rejects.toMatchObject({
      code: "STORE_UNAVAILABLE",
      message: `the database did not say whether ${sentence}`,
      hint: expect.stringMatching(/^keyctl get --user (alice|bob) --stored .* failed: the connection was closed$/),
      retryable: true,
      mayHaveHappened: true,
    });
    expect(writes()).toBe(1);
  });

  it.each(OPEN)("is left open when the store cannot be read either: %s", async (_, write) => {
    for (const failure of [cut, refused, new DOMException("the time is over", "TimeoutError")]) {
      const fail = async () => Promise.reject(failure);
      const { store, writes } = losing(cut, []);
      await expect(write({ ...store, find: fail, findMany: fail })).rejects.toMatchObject({ mayHaveHappened: true });
      expect(writes()).toBe(1);
    }
  });

  it.each(OPEN)("ends at once when the process is interrupted: %s", async (_, write) => {
    const interrupted = new KeyctlError("INTERRUPTED", "interrupted by SIGINT");
    const fail = async () => Promise.reject(interrupted);
    await expect(write({ ...losing(cut, []).store, find: fail, findMany: fail })).rejects.toBe(interrupted);
  });
});

it.each(OPEN)("a write that did not reach the store may not still land: %s", async (_, write, rows) => {
  const { store, reads } = losing(refused, rows);
  await expect(write(store)).rejects.toBe(refused);
  expect(reads()).toBe(0);
});

/** A store with these rows that fails every write in this way. */
function losing(failure: KeyctlError, rows: readonly KeyRecord[]) {
  const memory: MemoryStore = memoryStore(...rows);
  let writes = 0;
  let reads = 0;
  const fail = async (): Promise<never> => {
    writes += 1;
    throw failure;
  };
  const store: KeyStore = {
    ...memory,
    find: async (...words) => {
      reads += 1;
      return memory.find(...words);
    },
    findMany: async (...words) => {
      reads += 1;
      return memory.findMany(...words);
    },
    insert: fail,
    insertMany: fail,
    replace: fail,
    remove: fail,
  };
  return { store, writes: () => writes, reads: () => reads };
}

function rowOf(user: string, sealed: string): KeyRecord {
  return newRecord(parseUserId(user), { key: keyOf(), sealed, origin: "manual", now: NOW });
}

function keyOf(): ApiKey {
  const key = ApiKey.parse(KEY);
  if (key === undefined) throw new Error("this is not a key");
  return key;
}
