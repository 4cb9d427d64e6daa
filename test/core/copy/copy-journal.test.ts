import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KeyctlError } from "../../../src/core/model/errors.ts";
import type { Entry, Journal, Recorded } from "../../../src/core/ports/journal.ts";
import { JournalCopy } from "../../../src/core/copy/copy-journal.ts";
import type { JournalOutcome } from "../../../src/core/copy/copy-journal.ts";
import { parseUserId } from "../../../src/core/model/user-id.ts";
import type { UserId } from "../../../src/core/model/user-id.ts";
import { memoryJournal } from "../../support/memory/journal.ts";

const NOW = "2026-11-22T00:00:00.000Z";
const LATER = "2026-11-22T00:00:05.000Z";
const HASH = "a".repeat(64);
const DEPLOYMENT = "0123456789abcdef";
const patience = () => new AbortController().signal;
const userOf = (name: string): UserId => parseUserId(name);

function recorded(user: string, entry: Entry, at = NOW): Recorded {
  return { ...entry, userId: userOf(user), at };
}

function op(user: string, n: number, nonce = "1".repeat(16)): Recorded {
  const terms = { label: null, limit: 5, limitReset: null, expiresAt: null, workspace: null, deliberate: false };
  return recorded(user, { kind: "op", n, nonce, ...terms });
}

const saved = (user: string, n: number, at = NOW) =>
  recorded(user, { kind: "out", n, outcome: "saved", hash: HASH, upstreamHash: null }, at);
const abandoned = (user: string, n: number) => recorded(user, { kind: "out", n, outcome: "abandoned" });
const revoked = (user: string, n: number) =>
  recorded(user, { kind: "rev", n, reason: "superseded", revoke: false, block: false });
const deleted = (user: string, n: number) => recorded(user, { kind: "del", n });

/** A user who has gone through three keys. */
function history(user: string): readonly Recorded[] {
  return [
    op(user, 1),
    saved(user, 1),
    revoked(user, 1),
    deleted(user, 1),
    op(user, 2),
    abandoned(user, 2),
    op(user, 3),
    saved(user, 3),
  ];
}

async function sourceOf(...entries: readonly Recorded[]) {
  const journal = memoryJournal();
  await journal.adoptDeployment(DEPLOYMENT, patience());
  for (const entry of entries) await journal.insertEntry(entry, patience());
  return journal;
}

/** What a copy says, first of bringing and then of proving. */
async function copied(from: Journal, to: Journal, dryRun = false): Promise<readonly string[]> {
  const copy = new JournalCopy(from, to, dryRun);
  const said: JournalOutcome[] = [];
  for await (const outcomes of copy.bring(patience)) said.push(...outcomes);
  if (!dryRun) for await (const outcomes of copy.prove(patience)) said.push(...outcomes);
  return said.map(({ userId, outcome }) => `${userId} ${outcome}`).toSorted();
}

/** A journal whose inserts end as told; undefined: as they would. */
function inserting(to: Journal, behave: (entry: Recorded, number: number) => Promise<boolean> | undefined): Journal {
  let number = 0;
  return { ...to, insertEntry: (entry, signal) => behave(entry, ++number) ?? to.insertEntry(entry, signal) };
}

const gone = new KeyctlError("STORE_UNAVAILABLE", "it is gone");
const noAnswer = new KeyctlError("STORE_UNAVAILABLE", "no answer came", { mayHaveHappened: true });

describe("a copy of a journal", () => {
  it("brings every entry and the deployment id, and proves each user's", async () => {
    const from = await sourceOf(...history("alice"), ...history("bob"));
    const to = memoryJournal();
    expect(await copied(from, to)).toEqual(["alice copied", "alice verified", "bob copied", "bob verified"]);
    expect(to.records).toEqual(from.records);
    expect(await to.deployment(patience())).toBe(DEPLOYMENT);
  });

  it("done again keeps all, and brings what has come meanwhile", async () => {
    const from = await sourceOf(...history("alice"));
    const to = memoryJournal();
    await copied(from, to);
    expect(await copied(from, to)).toEqual(["alice kept", "alice verified"]);
    await from.insertEntry(op("alice", 4), patience());
    expect(await copied(from, to)).toEqual(["alice copied", "alice verified"]);
    expect(to.records).toEqual(from.records);
  });

  it("of many users is as whole", async () => {
    const users = Array.from({ length: 100 }, (_, index) => `user-${index}`);
    const from = await sourceOf(...users.flatMap(history));
    const to = memoryJournal();
    expect(await copied(from, to)).toHaveLength(200);
    expect(to.records).toEqual(from.records);
  });

  it("that holds nothing leaves the destination's own deployment id, and its journal", async () => {
    const to = memoryJournal(...history("zoe"));
    const own = await to.deployment(patience());
    expect(await copied(await sourceOf(), to)).toEqual([]);
    expect(await to.deployment(patience())).toBe(own);
  });

  it.each([false, true])("is refused where another deployment has made keys, with dryRun: %j", async (dryRun) => {
    const to = memoryJournal(op("zoe", 1));
    await expect(copied(await sourceOf(op("alice", 1)), to, dryRun)).rejects.toMatchObject({ code: "CONFLICT" });
    expect([...to.records.values()]).toEqual([op("zoe", 1)]);
  });

  it("writes nothing when it only says what it would do", async () => {
    const from = await sourceOf(...history("alice"));
    const to = memoryJournal();
    const own = await to.deployment(patience());
    expect(await copied(from, to, true)).toEqual(["alice copied"]);
    expect([to.records.size, await to.deployment(patience())]).toEqual([0, own]);
    await copied(from, to);
    expect(await copied(from, to, true)).toEqual(["alice kept"]);
  });

  it("cut off before any insert goes on to the same journal", async () => {
    const from = await sourceOf(...history("alice"), ...history("bob"));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 16 }), { maxLength: 4 }), async (cuts) => {
        const to = memoryJournal();
        for (const cut of cuts) {
          const cutOff = inserting(to, (_, number) => (number >= cut ? Promise.reject(gone) : undefined));
          await copied(from, cutOff).catch((thrown: unknown) => expect(thrown).toBe(gone));
        }
        await copied(from, to);
        expect(to.records).toEqual(from.records);
      }),
      { numRuns: 50 },
    );
  });

  it("never shows an operation without its outcome, nor an outcome without its revocation", async () => {
    const from = await sourceOf(...history("alice"));
    for (let cut = 1; cut <= history("alice").length; cut += 1) {
      const to = memoryJournal();
      const cutOff = inserting(to, (_, number) => (number >= cut ? Promise.reject(gone) : undefined));
      await expect(copied(from, cutOff)).rejects.toBe(gone);
      const there = new Set([...to.records.values()].map(({ kind, n }) => `${kind}:${n}`));
      const ordered = ["del", "rev", "out", "op"];
      for (const { kind, n } of from.records.values()) {
        const before = ordered.slice(0, ordered.indexOf(kind)).map((earlier) => `${earlier}:${n}`);
        const owed = before.filter((place) => [...from.records.values()].some((e) => `${e.kind}:${e.n}` === place));
        if (there.has(`${kind}:${n}`)) expect([...there]).toEqual(expect.arrayContaining(owed));
      }
    }
  });

  it("whose answers are lost is settled by reading", async () => {
    const from = await sourceOf(...history("alice"));
    const to = memoryJournal();
    const forgetful = inserting(to, async (entry) => {
      await to.insertEntry(entry, patience());
      throw noAnswer;
    });
    expect(await copied(from, forgetful)).toEqual(["alice copied", "alice verified"]);
    const lost = inserting(memoryJournal(), () => Promise.reject(noAnswer));
    await expect(copied(from, lost)).rejects.toBe(noAnswer);
  });
});

describe("an entry that is there already", () => {
  it("and says something else is a conflict of its user, of whom nothing is brought; the others come", async () => {
    const from = await sourceOf(...history("alice"), ...history("bob"));
    const theirs = op("alice", 3, "2".repeat(16));
    const to = await sourceOf(theirs);
    expect(await copied(from, to)).toEqual(["alice conflict", "bob copied", "bob verified"]);
    expect([...to.records.values()].filter(({ userId }) => userId === "alice")).toEqual([theirs]);
    expect(await copied(from, to, true)).toEqual(["alice conflict", "bob kept"]);
  });

  it("may have been put there while we were at it", async () => {
    const from = await sourceOf(op("alice", 1), saved("alice", 1));
    const to = memoryJournal();
    const raced = inserting(to, ({ kind }) =>
      kind === "op" ? to.insertEntry(op("alice", 1, "2".repeat(16)), patience()).then(() => false) : undefined,
    );
    expect(await copied(from, raced)).toEqual(["alice conflict"]);
  });

  it("may have been decided at another time", async () => {
    const from = await sourceOf(op("alice", 1), saved("alice", 1));
    const to = await sourceOf(op("alice", 1), saved("alice", 1, LATER));
    expect(await copied(from, to)).toEqual(["alice kept", "alice verified"]);
  });
});

it("the proof names who has an entry that is not there", async () => {
  const from = await sourceOf(...history("alice"), ...history("bob"));
  const to = memoryJournal();
  const copy = new JournalCopy(from, to, false);
  for await (const outcomes of copy.bring(patience)) expect(outcomes).toHaveLength(2);
  await from.insertEntry(op("alice", 4), patience());
  const said: JournalOutcome[] = [];
  for await (const outcomes of copy.prove(patience)) said.push(...outcomes);
  expect(said.find(({ userId }) => userId === "alice")).toMatchObject({
    outcome: "unverified",
    error: { code: "CONFLICT", retryable: true },
  });
  expect(said.find(({ userId }) => userId === "bob")).toMatchObject({ outcome: "verified" });
});
