import { describe, expect, it } from "vitest";
import type { ActorKind } from "./command.ts";
import { accepts } from "./trace.ts";
import type { Recorded, TraceOptions } from "./trace.ts";

const KEY = "7d8f";
const OTHER = "11aa";
const done = { answer: "done" } as const;
const lost = { answer: "refused" } as const;
const unanswered = { answer: "unanswered" } as const;
const settled = { hash: KEY, limitDue: null, restrictions: null, settled: true, previous: null };
const row = { ...settled, generation: 1, version: "a/3" };
const unsettled = { ...row, settled: false };
const tombstone = { ...settled, generation: 0, hash: "", blocked: true };

const looks: Recorded = { access: "spool.list", result: [] };
const reads = (result: object | null): Recorded => ({ access: "row.find", result });
const isBlocked = reads({ ...tombstone, version: "b/1" });
const noRow = reads(null);
const retires = (given: Partial<Record<"revoke" | "block", boolean>>, result: object = done): Recorded => ({
  access: "journal.insert rev",
  generation: 1,
  retirement: { reason: "purged", revoke: false, block: false, ...given },
  result,
});
const isRetired = (block: boolean): Recorded => ({
  access: "journal.read rev",
  generation: 1,
  result: { reason: "purged", revoke: false, block },
});
const entombs = (result: object = { ...done, version: "a/4" }): Recorded => ({
  access: "row.replace",
  row: tombstone,
  seen: "a/3",
  result,
});
const blocks = (result: object = { ...done, version: "b/1" }): Recorded => ({
  access: "row.insert",
  row: tombstone,
  result,
});
const removes = (seen: string, result: object = done): Recorded => ({ access: "row.remove", seen, result });
const readsOutcome: Recorded = { access: "journal.read out", generation: 1, result: { saved: KEY } };

type Case = readonly [string, ActorKind, TraceOptions, readonly Recorded[]];

/** Complete runs, with each access in its place. */
const WHOLE: readonly Case[] = [
  ["sync finds a tombstone with one read", "sync", {}, [looks, isBlocked]],
  ["get finds a tombstone with one read", "get", {}, [looks, isBlocked]],
  ["save stores nothing over a tombstone", "save", { key: OTHER }, [looks, isBlocked]],
  ["rotate replaces no tombstone", "rotate", {}, [looks, isBlocked]],
  [
    "sync loses its row to a tombstone: decided against, deleted, and the next read says so",
    "sync",
    {},
    [
      looks,
      noRow,
      { access: "journal.last op", result: 0 },
      noRow,
      { access: "journal.insert op", generation: 1, nonce: "c0ffee", deliberate: false, result: done },
      { access: "upstream.post", generation: 1, result: { created: KEY } },
      { access: "row.insert", row: { ...settled, generation: 1, settled: false }, result: lost },
      isBlocked,
      { access: "journal.insert out", generation: 1, outcome: "abandoned", result: done },
      { access: "upstream.disable", hash: KEY, result: "done" },
      { access: "upstream.delete", hash: KEY, result: "done" },
      isBlocked,
    ],
  ],
  [
    "a spooled key meets a tombstone: decided against, deleted, and the file goes",
    "sync",
    {},
    [
      { access: "spool.list", result: [{ generation: 1, hash: KEY, sent: true }] },
      isBlocked,
      { access: "journal.insert out", generation: 1, outcome: "abandoned", result: done },
      { access: "upstream.disable", hash: KEY, result: "done" },
      { access: "upstream.delete", hash: KEY, result: "done" },
      { access: "spool.remove", generation: 1, result: "done" },
      isBlocked,
    ],
  ],
  ["an unsettled row is looked at again", "sync", {}, [looks, reads(unsettled), readsOutcome, reads(unsettled)]],
  [
    "a row that was purged after its outcome was read is not handed out",
    "sync",
    {},
    [looks, reads(unsettled), readsOutcome, isBlocked],
  ],
  [
    "purge --block: record, then the tombstone",
    "purge",
    { block: true },
    [looks, reads(row), retires({ block: true }), entombs()],
  ],
  ["purge --block of nobody", "purge", { block: true }, [looks, noRow, blocks()]],
  ["purge --block of a blocked user", "purge", { block: true }, [looks, isBlocked]],
  [
    "purge --block of a key that was not created here needs no record",
    "purge",
    { block: true },
    [looks, reads({ ...row, generation: 0 }), entombs()],
  ],
  [
    "purge --block loses to another key, and begins again",
    "purge",
    { block: true },
    [looks, reads(row), retires({ block: true }), entombs(lost), noRow, blocks(lost), isBlocked],
  ],
  [
    "purge --block without an answer reads the tombstone back",
    "purge",
    { block: true },
    [looks, reads(row), retires({ block: true }), entombs(unanswered), isBlocked],
  ],
  [
    "purge finishes an earlier purge --block with its tombstone",
    "purge",
    {},
    [looks, reads(row), retires({}, lost), isRetired(true), entombs()],
  ],
  [
    "purge --block where a compare-and-set reads and then writes: removed, then the tombstone",
    "purge",
    { block: true, split: true },
    [looks, reads(row), retires({ block: true }), removes("a/3"), blocks()],
  ],
  ["unblock of nobody", "unblock", {}, [noRow]],
  ["unblock removes the tombstone that it read", "unblock", {}, [isBlocked, removes("b/1")]],
  ["unblock loses its tombstone, and reads again", "unblock", {}, [isBlocked, removes("b/1", lost), noRow]],
  ["unblock of a user with a key", "unblock", {}, [reads(row), isRetired(false)]],
  [
    "unblock finishes a purge --block that died, without its block",
    "unblock",
    {},
    [reads(row), isRetired(true), removes("a/3")],
  ],
  [
    "reconcile finishes a purge --block that died",
    "reconcile",
    {},
    [looks, { access: "upstream.list", result: [] }, reads(row), isRetired(true), entombs()],
  ],
  ["reconcile leaves a tombstone alone", "reconcile", {}, [looks, { access: "upstream.list", result: [] }, isBlocked]],
];

/** Runs that break a rule with their last access. */
const BROKEN: readonly Case[] = [
  ["sync removes a tombstone", "sync", {}, [looks, isBlocked, removes("b/1")]],
  ["sync goes on over a tombstone", "sync", {}, [looks, isBlocked, { access: "journal.last op", result: 0 }]],
  ["purge --block changes the row before its record", "purge", { block: true }, [looks, reads(row), entombs()]],
  [
    "purge --block only removes the row",
    "purge",
    { block: true },
    [looks, reads(row), retires({ block: true }), removes("a/3")],
  ],
  ["purge records a block that nobody wants", "purge", {}, [looks, reads(row), retires({ block: true })]],
  ["purge leaves a tombstone that nobody wants", "purge", {}, [looks, reads(row), retires({}), entombs()]],
  [
    "a tombstone takes the place of a row where a compare-and-set reads and then writes",
    "purge",
    { block: true, split: true },
    [looks, reads(row), retires({ block: true }), entombs()],
  ],
  ["unblock removes another version than it read", "unblock", {}, [isBlocked, removes("b/2")]],
  ["unblock removes a key", "unblock", {}, [reads(row), isRetired(false), removes("a/3")]],
  [
    "reconcile forgets the block of a purge that died",
    "reconcile",
    {},
    [looks, { access: "upstream.list", result: [] }, reads(row), isRetired(true), removes("a/3")],
  ],
];

describe("the model accepts", () => {
  it.each(WHOLE)("%s", (_, kind, options, trace) => {
    expect(accepts(kind, { ...options, ended: true }, trace)).toEqual({ ok: true });
  });
});

describe("the model refuses that", () => {
  it.each(BROKEN)("%s", (_, kind, options, trace) => {
    expect(accepts(kind, options, trace)).toMatchObject({ ok: false, at: trace.length - 1 });
  });

  it.each(WHOLE)("an access before the last is left out: %s", (_, kind, options, trace) => {
    const shorter = trace.slice(0, -1).map((_one, at) => trace.toSpliced(at, 1));
    const accepted = shorter.filter((one) => accepts(kind, { ...options, ended: true }, one).ok);
    expect(accepted).toEqual([]);
  });
});
