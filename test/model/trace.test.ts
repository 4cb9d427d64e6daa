import { describe, expect, it } from "vitest";
import type { ActorKind, Breach } from "./command.ts";
import { explorationOf } from "./explorer/configuration.ts";
import type { Configuration } from "./explorer/configuration.ts";
import { explore } from "./explorer/explore.ts";
import { BREACHES, SPLIT } from "./tables.ts";
import { accepts } from "./trace.ts";
import type { Recorded, TraceOptions } from "./trace.ts";

/** Records like those of real processes: hashes and versions are texts that the model does not interpret. */
const HASH = "7d8f";
const OLD = "11aa";
const done = { answer: "done" } as const;
const plain = { limitDue: null, restrictions: null };
const settled = { generation: 1, hash: OLD, ...plain, settled: true, previous: null };
const own = { generation: 1, hash: HASH, ...plain, settled: false, previous: null };

const looks: Recorded = { access: "spool.list", result: [] };
const noRow: Recorded = { access: "row.find", result: null };
const hasRow: Recorded = { access: "row.find", result: { ...settled, version: "a/3" } };

const opens: readonly Recorded[] = [
  looks,
  noRow,
  { access: "journal.last op", result: 0 },
  noRow,
  { access: "journal.insert op", generation: 1, nonce: "c0ffee", deliberate: false, result: done },
];
const makes: readonly Recorded[] = [...opens, { access: "upstream.post", generation: 1, result: { created: HASH } }];
const stores: Recorded = { access: "row.insert", row: own, result: { ...done, version: "b/1" } };
const saves: Recorded = { access: "journal.insert out", generation: 1, outcome: { saved: HASH }, result: done };
const settles: Recorded = {
  access: "row.replace",
  row: { ...own, settled: true },
  seen: "b/1",
  result: { ...done, version: "b/2" },
};
const abandons: Recorded = { access: "journal.insert out", generation: 1, outcome: "abandoned", result: done };
const disables: Recorded = { access: "upstream.disable", hash: HASH, result: "done" };
const deletes: Recorded = { access: "upstream.delete", hash: HASH, result: "done" };
const readsOutcome = (result: unknown): Recorded => ({ access: "journal.read out", generation: 1, result });
const unanswered = (recorded: Recorded): Recorded => ({ ...recorded, result: { answer: "unanswered" } });
const refused = (recorded: Recorded): Recorded => ({ ...recorded, result: { answer: "refused" } });

const isHeld = (hash: string, result: readonly object[]): Recorded => ({
  access: "journal.holding",
  hashes: [hash],
  result,
});

const lives = (atMost: number, saved: number, open: number): Recorded => ({
  access: "journal.live operations",
  atMost,
  result: { saved, open },
});
const readsRevocation = (generation: number, revoke: boolean): Recorded => ({
  access: "journal.read rev",
  generation,
  result: { reason: "superseded", revoke, block: false },
});
const readsDeletion = (generation: number, result: unknown): Recorded => ({
  access: "journal.read del",
  generation,
  result,
});
const readsGrace = (generation: number, result: unknown): Recorded => ({
  access: "journal.read due",
  generation,
  result,
});
/** The given key is the key of another generation. */
const ours = isHeld(HASH, [{ hash: HASH, generation: 2 }]);
const givenRow = { generation: 0, hash: HASH, ...plain, settled: true, previous: null };
const gives: Recorded = { access: "row.insert", row: givenRow, result: { ...done, version: "c/1" } };

type Case = readonly [string, ActorKind, TraceOptions, readonly Recorded[]];

/** Complete runs, with each access in its place. */
const WHOLE: readonly Case[] = [
  ["a settled row is one read", "sync", {}, [looks, hasRow]],
  ["a new key: operation, POST, row, outcome, settled", "sync", {}, [...makes, stores, saves, settles]],
  [
    "a key in key.txt needs no journal",
    "get",
    { key: OLD },
    [
      looks,
      noRow,
      isHeld(OLD, []),
      { access: "row.insert", row: { ...settled, generation: 0 }, result: { ...done, version: "a/1" } },
    ],
  ],
  ["get starts no operation", "get", {}, [looks, noRow, { access: "journal.last op", result: 0 }, noRow]],
  [
    "the answer of the row is lost, and the row is there",
    "sync",
    {},
    [...makes, unanswered(stores), { access: "row.find", result: { ...own, version: "b/1" } }, saves, settles],
  ],
  [
    "the answer of the row is lost, and the row is not there: decided against, then deleted, then from the start",
    "sync",
    {},
    [...makes, unanswered(stores), noRow, abandons, disables, deletes, hasRow],
  ],
  [
    "somebody else's row was first, and a helper saved this key: nothing is deleted",
    "sync",
    {},
    [...makes, refused(stores), hasRow, refused(abandons), readsOutcome({ saved: HASH }), hasRow],
  ],
  [
    "the answer of an operation is lost, and its nonce is there",
    "sync",
    {},
    [
      ...opens.slice(0, -1),
      {
        access: "journal.insert op",
        generation: 1,
        nonce: "c0ffee",
        deliberate: false,
        result: { answer: "unanswered" },
      },
      { access: "journal.read op", generation: 1, result: { nonce: "c0ffee" } },
      ...makes.slice(-1),
      stores,
      saves,
      settles,
    ],
  ],
  [
    "the answer of an outcome is lost, nothing is there, and the same is inserted again",
    "sync",
    {},
    [...makes, stores, unanswered(saves), readsOutcome(null), saves, settles],
  ],
  [
    "an operation of somebody else is awaited until its row is there",
    "sync",
    {},
    [looks, noRow, { access: "journal.last op", result: 1 }, readsOutcome(null), hasRow],
  ],
  [
    "an operation of somebody else is awaited until the time is over",
    "get",
    {},
    [looks, noRow, { access: "journal.last op", result: 1 }, readsOutcome(null), noRow, readsOutcome(null)],
  ],
  [
    "a refused POST is decided against, and nothing is looked for",
    "sync",
    {},
    [...opens, { access: "upstream.post", generation: 1, result: "refused" }, abandons],
  ],
  ["the store does not answer", "sync", {}, [looks, { access: "row.find", result: "unavailable" }]],
  [
    "a stale operation is decided against before it is looked for",
    "sync",
    {},
    [
      looks,
      noRow,
      { access: "journal.last op", result: 1 },
      readsOutcome(null),
      abandons,
      { access: "upstream.list named", generation: 1, result: [HASH] },
      { access: "journal.holding", hashes: [HASH], result: [] },
      { access: "row.holding", hashes: [HASH], result: [] },
      disables,
      deletes,
      hasRow,
    ],
  ],
  [
    "the store is away after the POST: the key is spooled",
    "sync",
    {},
    [
      ...makes,
      { ...stores, result: "unavailable" },
      { ...stores, result: "unavailable" },
      { access: "spool.write", spooled: { generation: 1, hash: HASH, sent: false }, result: "done" },
    ],
  ],
  [
    "a spooled key is claimed, stored and saved before anything else",
    "get",
    {},
    [
      { access: "spool.list", result: [{ generation: 1, hash: HASH, sent: false }] },
      { access: "spool.claim", generation: 1, result: "won" },
      stores,
      saves,
      settles,
      { access: "spool.remove", generation: 1, result: "done" },
      hasRow,
    ],
  ],
  [
    "a spooled key is given back when the store is still away",
    "sync",
    {},
    [
      { access: "spool.list", result: [{ generation: 1, hash: HASH, sent: false }] },
      { access: "spool.claim", generation: 1, result: "won" },
      { ...stores, result: "unavailable" },
      { access: "spool.release", generation: 1, result: "done" },
    ],
  ],
  [
    "save over a made key: the row, then the retirement, then upstream",
    "save",
    { key: HASH, revoke: "ours" },
    [
      looks,
      hasRow,
      isHeld(HASH, []),
      {
        access: "row.replace",
        row: {
          ...givenRow,
          settled: false,
          previous: { generation: 1, hash: OLD, ...plain, revoke: true, graceMs: null },
        },
        seen: "a/3",
        result: { ...done, version: "a/4" },
      },
      {
        access: "journal.insert rev",
        generation: 1,
        retirement: { reason: "superseded", revoke: true, block: false },
        result: done,
      },
      { access: "upstream.disable", hash: OLD, result: "done" },
      { access: "upstream.delete", hash: OLD, result: "done" },
      {
        access: "row.replace",
        row: { ...settled, generation: 0, hash: HASH },
        seen: "a/4",
        result: { ...done, version: "a/5" },
      },
    ],
  ],
  [
    "purge --revoke: the retirement, then the row, upstream last",
    "purge",
    { revoke: "ours" },
    [
      looks,
      hasRow,
      {
        access: "journal.records",
        result: {
          operations: 1,
          outcomes: [null, { saved: OLD }],
          retirements: [null, null],
          owedAfterAll: [],
          dues: [],
        },
      },
      {
        access: "journal.insert rev",
        generation: 1,
        retirement: { reason: "purged", revoke: true, block: false },
        result: { answer: "refused" },
      },
      { access: "journal.read rev", generation: 1, result: { reason: "purged", revoke: false, block: false } },
      { access: "journal.insert del", generation: 1, result: done },
      { access: "row.remove", seen: "a/3", result: done },
      { access: "upstream.disable", hash: OLD, result: "gone" },
    ],
  ],
  [
    "purge --revoke takes what was replaced and kept with it",
    "purge",
    { revoke: "ours" },
    [
      looks,
      { access: "row.find", result: { ...settled, generation: 2, hash: HASH, version: "a/3" } },
      {
        access: "journal.records",
        result: {
          operations: 2,
          outcomes: [null, { saved: OLD }, { saved: HASH }],
          retirements: [null, { reason: "superseded", revoke: false, block: false }],
          owedAfterAll: [],
          dues: [],
        },
      },
      { access: "journal.insert del", generation: 1, result: done },
      {
        access: "journal.insert rev",
        generation: 2,
        retirement: { reason: "purged", revoke: true, block: false },
        result: done,
      },
      { access: "row.remove", seen: "a/3", result: done },
      { access: "upstream.disable", hash: HASH, result: "done" },
      { access: "upstream.delete", hash: HASH, result: "done" },
      { access: "upstream.disable", hash: OLD, result: "gone" },
    ],
  ],
  ["a key that is owed is not saved", "save", { key: HASH }, [looks, hasRow, ours, readsRevocation(2, true)]],
  [
    "a key that is owed after all is passed over in key.txt, and none is made",
    "sync",
    { key: HASH },
    [
      looks,
      noRow,
      ours,
      readsRevocation(2, false),
      readsDeletion(2, "stands"),
      { access: "journal.last op", result: 0 },
      noRow,
    ],
  ],
  [
    "a key that was kept is saved back, and looked up once more",
    "save",
    { key: HASH },
    [
      looks,
      noRow,
      ours,
      readsRevocation(2, false),
      readsDeletion(2, null),
      readsGrace(2, null),
      gives,
      readsRevocation(2, false),
      readsDeletion(2, null),
      readsGrace(2, null),
    ],
  ],
  [
    "a key that was kept is withdrawn when it is owed by then",
    "save",
    { key: HASH },
    [
      looks,
      noRow,
      ours,
      readsRevocation(2, false),
      readsDeletion(2, null),
      readsGrace(2, null),
      gives,
      readsRevocation(2, false),
      readsDeletion(2, "stands"),
      { access: "row.remove", seen: "c/1", result: done },
    ],
  ],
  [
    "a key that nobody asked for is counted after its operation",
    "sync",
    { cap: 2 },
    [
      ...opens.slice(0, -1),
      lives(2, 1, 0),
      ...opens.slice(-1),
      lives(3, 1, 1),
      ...makes.slice(-1),
      stores,
      saves,
      settles,
    ],
  ],
  [
    "one too many comes to nothing, and starts over until the cap is used up",
    "sync",
    { cap: 1 },
    [
      ...opens.slice(0, -1),
      lives(1, 0, 0),
      ...opens.slice(-1),
      lives(2, 0, 2),
      abandons,
      { access: "journal.last op", result: 1 },
      readsOutcome("abandoned"),
      noRow,
      lives(1, 1, 0),
    ],
  ],
  [
    "a key that a person asked for is not counted",
    "sync",
    { cap: 1, deliberate: true },
    [
      ...opens.slice(0, -1),
      { access: "journal.insert op", generation: 1, nonce: "c0ffee", deliberate: true, result: done },
      ...makes.slice(-1),
      stores,
      saves,
      settles,
    ],
  ],
  [
    "purge --revoke of a key that is not ours changes nothing",
    "purge",
    { revoke: "ours" },
    [looks, { access: "row.find", result: { ...settled, generation: 0, version: "a/3" } }],
  ],
  [
    "purge --revoke without a row finishes a purge that did not revoke",
    "purge",
    { revoke: "ours" },
    [
      looks,
      noRow,
      {
        access: "journal.records",
        result: {
          operations: 1,
          outcomes: [null, { saved: OLD }],
          retirements: [null, { reason: "purged", revoke: false, block: false }],
          owedAfterAll: [],
          dues: [],
        },
      },
      { access: "journal.insert del", generation: 1, result: done },
      { access: "upstream.list", result: [{ hash: OLD, generation: 1 }] },
      noRow,
      {
        access: "journal.records",
        result: {
          operations: 1,
          outcomes: [null, { saved: OLD }],
          retirements: [null, { reason: "purged", revoke: false, block: false }],
          owedAfterAll: [1],
          dues: [],
        },
      },
      noRow,
      { access: "upstream.disable", hash: OLD, result: "done" },
      { access: "upstream.delete", hash: OLD, result: "done" },
    ],
  ],
  [
    "reconcile lists, settles the row, and deletes what was decided against",
    "reconcile",
    {},
    [
      looks,
      { access: "upstream.list", result: [{ hash: HASH, generation: 2 }] },
      hasRow,
      { access: "journal.read rev", generation: 1, result: null },
      {
        access: "journal.records",
        result: {
          operations: 2,
          outcomes: [null, { saved: OLD }, "abandoned"],
          retirements: [null],
          owedAfterAll: [],
          dues: [],
        },
      },
      { access: "row.holding", hashes: [HASH], result: [] },
      disables,
      deletes,
    ],
  ],
];

describe("the model accepts", () => {
  it.each(WHOLE)("%s", (_, kind, options, trace) => {
    expect(accepts(kind, { ...options, ended: true }, trace)).toEqual({ ok: true });
  });

  it.each(WHOLE)("%s, killed at any access", (_, kind, options, trace) => {
    for (const [at, { result: _lost, ...last }] of trace.entries()) {
      expect(accepts(kind, options, trace.slice(0, at))).toEqual({ ok: true });
      expect(accepts(kind, options, [...trace.slice(0, at), last])).toEqual({ ok: true });
    }
  });
});

/** An access that certainly did nothing may be repeated, so it may be missing. */
const mayBeMissed = ({ result }: Recorded) => result === "unavailable";

describe("the model refuses", () => {
  it.each(WHOLE)("%s, with one access left out", (_, kind, options, trace) => {
    // With limited waiting, a command may end before its last access.
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

  it.each(WHOLE)("%s, with one access more", (_, kind, options, trace) => {
    const more: Recorded = { access: "upstream.delete", hash: "ffff", result: "done" };
    for (let at = 0; at <= trace.length; at++) {
      expect(accepts(kind, options, trace.toSpliced(at, 0, more))).toMatchObject({ ok: false, at, got: more });
    }
  });

  it.each<readonly [string, Recorded, readonly Recorded[]]>([
    ["another generation", { ...stores, row: { ...own, generation: 2 } }, makes],
    ["another hash", { ...saves, outcome: { saved: OLD } }, [...makes, stores]],
    ["another version", { ...settles, seen: "b/9" }, [...makes, stores, saves]],
    ["the same insert of a row again", stores, [...makes, unanswered(stores)]],
    ["an outcome that was lost and not read", settles, [...makes, stores, refused(saves)]],
    ["a key deleted before it was decided against", disables, [...makes, refused(stores), hasRow]],
    ["a second POST", { access: "upstream.post", generation: 1, result: { created: OLD } }, makes],
  ])("%s", (_, wrong, before) => {
    const acceptance = accepts("sync", {}, [...before, wrong, looks]);
    expect(acceptance).toMatchObject({ ok: false, at: before.length, got: wrong });
    expect(acceptance).toHaveProperty("expected.length", 1);
  });

  it("a command that ended too early, and says what was to come", () => {
    expect(accepts("sync", { ended: true }, [...makes, stores])).toEqual({
      ok: false,
      at: makes.length + 1,
      expected: [`journal.insert out 1 {"saved":"${HASH}"}`],
      got: null,
    });
  });

  it.each(["row.insert", "spool.write", "row.remove", "journal.insert rev"])(
    "a command that ends before its %s",
    (access) => {
      const ends = WHOLE.flatMap(([, kind, options, trace]) =>
        trace.flatMap((one, at) =>
          one.access === access ? [accepts(kind, { ...options, ended: true }, trace.slice(0, at))] : [],
        ),
      );
      expect(ends.length).toBeGreaterThan(0);
      expect(ends.filter(({ ok }) => ok)).toEqual([]);
    },
  );

  it("an access without an answer that is not the last", () => {
    expect(accepts("sync", {}, [{ access: "spool.list" }, hasRow])).toMatchObject({ ok: false, at: 0 });
  });
});

/** The trace of each actor in the histories that violate an invariant. */
function tracesOf(configuration: Configuration, all = false) {
  const exploration = explorationOf(configuration);
  const histories = [...explore({ ...exploration, all }).violations.values()].map(({ history }) => history);
  return exploration.commands.flatMap(({ kind, key, about, revoke, spool, cap, deliberate, graceMs }, slot) =>
    histories.map((history) => ({
      kind,
      options: { key, about, revoke, spool, cap, deliberate, graceMs },
      trace: history.flatMap(({ access, result, slot: whose }) =>
        whose === slot && access !== null && result !== "checked" ? [asRecorded({ ...access, result })] : [],
      ),
    })),
  );
}

/**
 * Converts an access of the explorer: its inserts return the existing record, and its versions contain the row's state.
 */
function asRecorded({ access, result, ...operands }: Recorded): Recorded {
  const won = result === "won" || result === "stands";
  const answer = won ? done : { answer: "refused", stands: result };
  const entry = { access, ...operands, result: access.startsWith("journal.insert ") ? answer : result };
  return JSON.parse(JSON.stringify(entry).replaceAll(/"(now|revised|gone)\|/g, '"'));
}

/** Breaches of a rule of the store or the clock; each actor behaves correctly. */
const OF_THE_STORE: readonly Breach[] = ["upsert", "aba", "grace-from-swap"];
/** Breaches whose first violation is of a command that runs after all others died. */
const OF_A_LATER_COMMAND: readonly Breach[] = ["no-previous", "purge-forgets-retiring"];
/**
 * Breaches that a trace cannot show: the actor skips its last accesses, the effect comes only after its death, or the trace
 * itself tells what was decided.
 */
const UNSEEN: readonly Breach[] = [
  "trust-row",
  "purge-finishes-nothing",
  "purge-forgets-retained",
  "save-looks-once",
  "s2-no-due",
  "undo-forgets-limit",
  "renew-loops",
  "renew-unrestricted",
  "leaked-stops",
];

describe("an actor in the explorer's histories", () => {
  const ofActors = BREACHES.filter(([breach]) => ![...OF_THE_STORE, ...UNSEEN].includes(breach));
  const ofStores = BREACHES.filter(([breach]) => OF_THE_STORE.includes(breach));

  it.each(ofActors)("is refused by its trace when it leaves out a rule: %s", (breach, _, configuration) => {
    const traces = tracesOf({ ...configuration, breach }, OF_A_LATER_COMMAND.includes(breach));
    expect(traces.filter(({ kind, options, trace }) => !accepts(kind, options, trace).ok)).not.toEqual([]);
  });

  it.each([
    ...ofStores.map(([breach, , configuration]) => [breach, { ...configuration, breach }] as const),
    ...SPLIT.map(([, configuration]) => ["split", configuration] as const),
  ])("is accepted when it is the store that leaves out a rule: %s, %j", (_, configuration) => {
    const traces = tracesOf(configuration);
    expect(traces.flatMap(({ trace }) => trace)).not.toEqual([]);
    expect(traces.map(({ kind, options, trace }) => accepts(kind, options, trace))).toEqual(
      traces.map(() => ({ ok: true })),
    );
  });
});
