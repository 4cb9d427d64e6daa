import { describe, expect, it } from "vitest";
import type { ActorKind } from "./command.ts";
import { accepts } from "./trace.ts";
import type { Recorded, TraceOptions } from "./trace.ts";

/** Records like those of real processes that rotate keys. Texts of limits and restrictions are not interpreted. */
const OLD = "11aa";
const NEW = "7d8f";
const GRACE_MS = 600_000;
const FULL = "10@2026-12-01T00:05:00.000Z";
const LISTS = '{"guardrails":["g-1"],"byok":[]}';
const done = { answer: "done" } as const;
const refused = { answer: "refused" } as const;

const plain = { limitDue: null, restrictions: null };
const oldKey = { generation: 1, hash: OLD, ...plain };
const newKey = { generation: 2, hash: NEW, ...plain };
const settledOld = { ...oldKey, settled: true, previous: null };
const settledNew = { ...newKey, settled: true, previous: null };
const noted = (more: object) => ({ ...oldKey, revoke: false, graceMs: GRACE_MS, ...more });
const placedNew = { ...newKey, settled: false, previous: noted({}) };

const reads = (row: object | null, version = "a/3"): Recorded => ({
  access: "row.find",
  result: row === null ? null : { ...row, version },
});
const replaces = (row: object, seen: string, result: unknown): Recorded => ({
  access: "row.replace",
  row,
  seen,
  result,
});
const won = (version: string) => ({ ...done, version });
const readsOutcome = (generation: number, result: unknown): Recorded => ({
  access: "journal.read out",
  generation,
  result,
});
const readsRevocation = (generation: number, result: unknown): Recorded => ({
  access: "journal.read rev",
  generation,
  result,
});
const due = (generation: number, result: unknown = done): Recorded => ({
  access: "journal.insert due",
  generation,
  retireAt: "2026-11-30T12:10:00.000Z",
  result,
});
const rev = (revoke: boolean, generation = 1): Recorded => ({
  access: "journal.insert rev",
  generation,
  retirement: { reason: "superseded", revoke, block: false },
  result: done,
});
const del = (generation: number): Recorded => ({ access: "journal.insert del", generation, result: done });
const out = (outcome: unknown): Recorded => ({ access: "journal.insert out", generation: 2, outcome, result: done });
const removes = (hash: string): readonly Recorded[] => [
  { access: "upstream.disable", hash, result: "done" },
  { access: "upstream.delete", hash, result: "done" },
];
const dueNow = (result: readonly number[]): Recorded => ({ access: "journal.due", result });
const readsMark = (result: unknown): Recorded => ({ access: "journal.read del", generation: 1, result });
const records = (more: object): Recorded => ({
  access: "journal.records",
  result: {
    operations: 2,
    outcomes: [null, { saved: OLD }, { saved: NEW }],
    retirements: [null, { reason: "superseded", revoke: false, block: false }],
    owedAfterAll: [],
    dues: [{ generation: 1, isOver: false }],
    ...more,
  },
});

const looks: Recorded = { access: "spool.list", result: [] };
/** From the row to the new key; the row is read again before the operation is recorded. */
const createsOver = (old: object): readonly Recorded[] => [
  reads(old),
  { access: "journal.last op", result: 1 },
  readsOutcome(1, { saved: OLD }),
  reads(old),
  { access: "journal.insert op", generation: 2, nonce: "c0ffee", deliberate: false, result: done },
  { access: "upstream.post", generation: 2, result: { created: NEW } },
];
const begins: readonly Recorded[] = [looks, ...createsOver(settledOld)];
const swaps = replaces(placedNew, "a/3", won("a/4"));
const grants: readonly Recorded[] = [readsOutcome(2, { saved: NEW }), due(1), rev(false)];
const commits: readonly Recorded[] = [out({ saved: NEW }), ...grants];
const settles = replaces(settledNew, "a/4", won("a/5"));
const attaches: Recorded = { access: "upstream.attach", hash: NEW, result: "done" };

const restricted = {
  old: { ...settledOld, limitDue: FULL, restrictions: LISTS },
  placed: {
    ...placedNew,
    limitDue: FULL,
    restrictions: LISTS,
    previous: noted({ limitDue: FULL, restrictions: LISTS }),
  },
};

type Case = readonly [string, ActorKind, TraceOptions, readonly Recorded[]];
const graceful = { graceMs: GRACE_MS };

/** Complete runs, with each access in its place. */
const WHOLE: readonly Case[] = [
  [
    "rotate with a grace: the row, the commit, then the time of the old key, and nothing upstream",
    "rotate",
    graceful,
    [...begins, swaps, ...commits, settles],
  ],
  [
    "rotate without a grace removes the old key after the commit, and looks once more",
    "rotate",
    {},
    [
      ...begins,
      replaces({ ...placedNew, previous: noted({ revoke: true, graceMs: null }) }, "a/3", won("a/4")),
      out({ saved: NEW }),
      rev(true),
      settles,
      ...removes(OLD),
      reads(settledNew, "a/5"),
    ],
  ],
  [
    "a new key that is refused is abandoned, then removed",
    "rotate",
    graceful,
    [...begins, out("abandoned"), reads(settledOld), ...removes(NEW)],
  ],
  [
    "restrictions are attached before the row is replaced, and the old key's note of its full limit goes on",
    "rotate",
    graceful,
    [
      looks,
      ...createsOver(restricted.old),
      attaches,
      replaces(restricted.placed, "a/3", won("a/4")),
      ...commits,
      replaces({ ...restricted.placed, settled: true, previous: null }, "a/4", won("a/5")),
    ],
  ],
  [
    "restrictions that could not be attached: abandoned, taken out of the lists, deleted",
    "rotate",
    graceful,
    [
      looks,
      ...createsOver(restricted.old),
      { ...attaches, result: "unavailable" },
      out("abandoned"),
      reads(restricted.old),
      { access: "upstream.disable", hash: NEW, result: "done" },
      { access: "upstream.detach", hash: NEW, result: "done" },
      { access: "upstream.delete", hash: NEW, result: "done" },
    ],
  ],
  [
    "a key whose time has come gets its full limit before it is rotated",
    "rotate",
    graceful,
    [
      looks,
      reads({ ...settledOld, limitDue: FULL }),
      { access: "upstream.set limit", hash: OLD, result: "done" },
      replaces(settledOld, "a/3", won("a/4")),
      ...createsOver(settledOld),
      swaps,
      ...commits,
      settles,
    ],
  ],
  [
    "a named limit leaves no note",
    "rotate",
    { ...graceful, namesLimit: true },
    [
      looks,
      ...createsOver({ ...settledOld, limitDue: FULL }),
      replaces({ ...placedNew, previous: noted({ limitDue: FULL }) }, "a/3", won("a/4")),
      ...commits,
      settles,
    ],
  ],
  [
    "the row was settled in between: replaced in its new version, with what was decided before",
    "rotate",
    graceful,
    [
      looks,
      ...createsOver({ ...settledOld, limitDue: FULL }),
      replaces({ ...placedNew, limitDue: FULL, previous: noted({ limitDue: FULL }) }, "a/3", refused),
      reads(settledOld, "a/9"),
      replaces({ ...placedNew, limitDue: FULL }, "a/9", won("a/10")),
      ...commits,
      replaces({ ...settledNew, limitDue: FULL }, "a/10", won("a/11")),
    ],
  ],
  [
    "another command was faster: abandoned, then removed",
    "rotate",
    graceful,
    [...begins, { ...swaps, result: refused }, reads(null), out("abandoned"), reads(null), ...removes(NEW)],
  ],
  [
    "rotate without a grace ends those under way before it creates a key",
    "rotate",
    { revoke: "ours" },
    [
      looks,
      reads(settledNew),
      records({}),
      del(1),
      { access: "journal.last op", result: 2 },
      readsOutcome(2, { saved: NEW }),
      reads(settledNew),
      { access: "journal.insert op", generation: 3, nonce: "beef", deliberate: false, result: done },
      { access: "upstream.post", generation: 3, result: { created: "99ff" } },
      replaces(
        {
          ...plain,
          generation: 3,
          hash: "99ff",
          settled: false,
          previous: { ...newKey, revoke: true, graceMs: null },
        },
        "a/3",
        won("a/4"),
      ),
      { access: "journal.insert out", generation: 3, outcome: { saved: "99ff" }, result: done },
      rev(true, 2),
      replaces({ ...plain, generation: 3, hash: "99ff", settled: true, previous: null }, "a/4", won("a/5")),
      ...removes(NEW),
      ...removes(OLD),
      reads({ ...plain, generation: 3, hash: "99ff", settled: true, previous: null }, "a/5"),
    ],
  ],
  [
    "rotate --finish: the row is settled with its grace, then what is due is marked and removed",
    "finish",
    {},
    [
      dueNow([1]),
      readsOutcome(1, { saved: OLD }),
      readsMark(null),
      reads(placedNew),
      ...grants.slice(0, 1),
      ...grants,
      replaces(settledNew, "a/3", won("a/4")),
      reads(settledNew, "a/4"),
      del(1),
      reads(settledNew, "a/4"),
      ...removes(OLD),
    ],
  ],
  [
    "rotate --finish restores a limit",
    "finish",
    {},
    [
      dueNow([]),
      reads({ ...settledNew, limitDue: FULL }),
      { access: "upstream.set limit", hash: NEW, result: "done" },
      replaces(settledNew, "a/3", won("a/4")),
    ],
  ],
  [
    "a finish that died after its mark is done again",
    "finish",
    {},
    [
      dueNow([1]),
      readsOutcome(1, { saved: OLD }),
      readsMark("stands"),
      reads(settledNew),
      { ...del(1), result: refused },
      reads(settledNew),
      ...removes(OLD),
    ],
  ],
  [
    "reconcile puts back a row with its note of a limit, and leaves a retiring key",
    "reconcile",
    {},
    [
      { access: "spool.list", result: [] },
      { access: "upstream.list", result: [{ hash: OLD, generation: 1 }] },
      reads({
        ...settledNew,
        generation: 3,
        settled: false,
        previous: { ...newKey, limitDue: FULL, revoke: true, graceMs: null },
      }),
      readsOutcome(3, "abandoned"),
      replaces({ ...settledNew, limitDue: FULL }, "a/3", won("a/4")),
      reads({ ...settledNew, limitDue: FULL }, "a/4"),
      readsRevocation(2, null),
      records({}),
    ],
  ],
  [
    "reconcile marks a key whose grace is over, judges again, and removes it",
    "reconcile",
    {},
    [
      { access: "spool.list", result: [] },
      { access: "upstream.list", result: [{ hash: OLD, generation: 1 }] },
      reads(settledNew),
      readsRevocation(2, null),
      records({ dues: [{ generation: 1, isOver: true }] }),
      del(1),
      records({ dues: [{ generation: 1, isOver: true }], owedAfterAll: [1] }),
      reads(settledNew),
      ...removes(OLD),
    ],
  ],
  [
    "reconcile reads the row again before it says superseded",
    "reconcile",
    {},
    [
      { access: "spool.list", result: [] },
      { access: "upstream.list", result: [{ hash: OLD, generation: 1 }] },
      reads(settledOld),
      readsRevocation(1, null),
      records({ retirements: [null], dues: [] }),
      reads(placedNew),
      ...grants.slice(0, 1),
      ...grants,
      records({}),
    ],
  ],
  [
    "purge --revoke takes the retiring keys with it",
    "purge",
    { revoke: "ours" },
    [
      { access: "spool.list", result: [] },
      reads(settledNew),
      records({}),
      del(1),
      {
        access: "journal.insert rev",
        generation: 2,
        retirement: { reason: "purged", revoke: true, block: false },
        result: done,
      },
      { access: "row.remove", seen: "a/3", result: done },
      ...removes(NEW),
      ...removes(OLD),
    ],
  ],
  [
    "a retiring key is not saved",
    "save",
    { key: OLD },
    [
      { access: "spool.list", result: [] },
      reads(settledNew),
      { access: "journal.holding", hashes: [OLD], result: [{ hash: OLD, generation: 1 }] },
      readsRevocation(1, { reason: "superseded", revoke: false, block: false }),
      readsMark(null),
      { access: "journal.read due", generation: 1, result: "stands" },
    ],
  ],
];

/** The lists of a key are known only to OpenRouter, so a removal without them is accepted. */
const mayBeMissed = ({ access, result }: Recorded) => access === "upstream.detach" || result === "unavailable";

describe("the model accepts", () => {
  it.each(WHOLE)("%s", (_, kind, options, trace) => {
    expect(accepts(kind, { ...options, ended: true }, trace)).toEqual({ ok: true });
  });

  it.each(WHOLE)("%s, killed at any access", (_, kind, options, trace) => {
    for (const [at, { result: _lost, ...last }] of trace.entries()) {
      expect(accepts(kind, options, trace.slice(0, at)), `before ${at}`).toEqual({ ok: true });
      expect(accepts(kind, options, [...trace.slice(0, at), last]), `during ${at}`).toEqual({ ok: true });
    }
  });

  it("a key that is added to several lists, one by one", () => {
    const [, , , trace] = WHOLE.find(([name]) => name.startsWith("restrictions are attached")) ?? [];
    const twice = (trace ?? []).flatMap((one) => (one === attaches ? [one, one, one] : [one]));
    expect(accepts("rotate", { ...graceful, ended: true }, twice)).toEqual({ ok: true });
  });
});

describe("the model refuses", () => {
  it.each(WHOLE)("%s, with one access left out", (_, kind, options, trace) => {
    for (const [at, left] of trace.slice(0, -1).entries()) {
      if (mayBeMissed(left)) continue;
      expect(accepts(kind, { ...options, ended: true }, trace.toSpliced(at, 1)), `without ${at}`).toMatchObject({
        ok: false,
      });
    }
  });

  it.each(WHOLE)("%s, with two accesses the other way round", (_, kind, options, trace) => {
    for (const [at, one] of trace.entries()) {
      const other = trace[at + 1];
      if (other === undefined || JSON.stringify(one) === JSON.stringify(other)) continue;
      const swapped = trace.toSpliced(at, 2, other, one);
      expect(accepts(kind, { ...options, ended: true }, swapped), `swapped ${at}`).toMatchObject({ ok: false });
    }
  });

  it.each<readonly [string, Recorded, readonly Recorded[]]>([
    [
      "another grace than the one that was asked for",
      replaces({ ...placedNew, previous: noted({ graceMs: 1 }) }, "a/3", won("a/4")),
      begins,
    ],
    ["a revocation at once of a key with a grace", rev(true), [...begins, swaps, ...commits.slice(0, -1)]],
    ["a key with a grace that is disabled", removes(OLD)[0] ?? swaps, [...begins, swaps, ...commits]],
    [
      "a key in its grace that is taken out of a list",
      { access: "upstream.detach", hash: OLD, result: "done" },
      [...begins, swaps, ...commits],
    ],
    [
      "a settled row that has lost its limit's note",
      settles,
      [
        looks,
        ...createsOver({ ...settledOld, limitDue: FULL }),
        replaces({ ...placedNew, limitDue: FULL, previous: noted({ limitDue: FULL }) }, "a/3", won("a/4")),
        ...commits,
      ],
    ],
    [
      "a limit that the row forgets before it is restored",
      replaces(settledOld, "a/3", won("a/4")),
      [looks, reads({ ...settledOld, limitDue: FULL })],
    ],
  ])("%s", (_, wrong, before) => {
    expect(accepts("rotate", graceful, [...before, wrong, reads(null)])).toMatchObject({
      ok: false,
      at: before.length,
      got: wrong,
    });
  });

  it("a row that is put back without its note of a limit", () => {
    const [, , , trace = []] = WHOLE.find(([name]) => name.startsWith("reconcile puts back")) ?? [];
    const forgotten = trace.map((one) =>
      one.access === "row.replace" ? replaces(settledNew, "a/3", won("a/4")) : one,
    );
    expect(accepts("reconcile", {}, forgotten)).toMatchObject({ ok: false, at: 4 });
  });

  it("a finish that removes a key whose grace runs", () => {
    const trace = [dueNow([]), readsOutcome(1, { saved: OLD }), readsMark(null), del(1)];
    expect(accepts("finish", {}, trace)).toMatchObject({ ok: false, at: 1 });
  });
});
