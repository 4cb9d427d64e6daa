import { isTombstone } from "../../src/core/model/tombstone.ts";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { Ports } from "../../src/compose.ts";
import { emptyHome } from "../support/home/home.ts";
import { KEY, MADE, OTHER } from "../support/fixtures/keys.ts";
import { ageOperations } from "../support/openrouter/made-keys.ts";
import { always, on } from "../support/openrouter/faults.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import { recordedInProcess } from "../support/recording/keyctl.ts";
import type { Given } from "../support/recording/keyctl.ts";
import { refusalsOf, replayed } from "../support/recording/runs.ts";
import type { UserTrace } from "../support/recording/runs.ts";
import { away, losing, recordedScene } from "../support/recording/scenes.ts";
import type { Step } from "../support/recording/scenes.ts";

const SYNC: Given = { args: ["sync", "--user", "alice"] };
const SYNC_GIVEN: Given = { ...SYNC, environmentKey: KEY };
const GET: Given = { args: ["get", "--user", "alice"] };
const PROVISION: Given = { args: ["provision", "--user", "alice"] };
const SAVE: Given = { args: ["save", "--user", "alice", "--stdin", "--replace"], input: OTHER };
const SAVE_REVOKE: Given = { ...SAVE, args: [...SAVE.args, "--revoke"] };
const PURGE: Given = { args: ["purge", "--user", "alice", "--yes"] };
const PURGE_REVOKE: Given = { args: [...PURGE.args, "--revoke"] };
const PURGE_FOREIGN: Given = { args: [...PURGE.args, "--revoke-foreign"] };
const RECONCILE: Given = { args: ["reconcile", "--fix"] };
const RECONCILE_ALICE: Given = { args: ["reconcile", "--fix", "--user", "alice"] };
const BOB: Given = { args: ["sync", "--user", "bob"] };

type Scene = readonly [string, readonly Step[]];

const UNKNOWN = 6;
const REFUSED = 4;
const PENDING = 10;
const EXISTS = 8;
const AWAY = 7;
const NOTHING = 3;
/** The first key that OpenRouter makes. */
const SAVE_BACK: Given = { ...SAVE, input: MADE };
const SYNC_BACK: Given = { ...SYNC, environmentKey: MADE };
const ONE_AN_HOUR = { env: { KEYCTL_MAX_PROVISIONS_PER_HOUR: "1" } };
const disobeyed = { upstream: always("PATCH /keys/{hash}", { status: 403 }), code: PENDING };
const stale = { before: ageOperations };
const lostPost = { upstream: on("POST /keys", "reset-after"), code: UNKNOWN };

const SCENES: readonly Scene[] = [
  ["sync makes a key, and finds it", [SYNC, SYNC, GET]],
  ["sync stores the key of the environment", [SYNC_GIVEN, GET]],
  ["get makes none", [{ ...GET, code: 3 }]],
  ["provision makes one, and only one", [PROVISION, { ...PROVISION, code: EXISTS }]],
  ["save, then save over it", [{ ...SAVE, args: SAVE.args.slice(0, 4) }, { ...SAVE, input: KEY }, SAVE, SAVE]],
  ["save over a made key keeps it", [SYNC, SAVE, RECONCILE]],
  ["save --revoke over a made key removes it", [SYNC, SAVE_REVOKE, RECONCILE]],
  [
    "save --revoke that upstream does not obey is finished by reconcile",
    [SYNC, { ...SAVE_REVOKE, upstream: always("PATCH /keys/{hash}", { status: 403 }), code: PENDING }, RECONCILE],
  ],
  ["purge, then a new key", [SYNC, PURGE, SYNC, RECONCILE]],
  ["purge --revoke, then a new key", [SYNC, PURGE_REVOKE, SYNC, RECONCILE]],
  ["purge, then purge --revoke after all", [SYNC, PURGE, PURGE_REVOKE, PURGE_REVOKE]],
  ["purge --revoke takes what was kept as well", [SYNC, SAVE, PURGE, SYNC, PURGE_REVOKE, RECONCILE]],
  ["purge --revoke-foreign takes what was kept as well", [SYNC, SAVE, PURGE_FOREIGN, RECONCILE]],
  ["a kept key is saved back, over another one as well", [SYNC, PURGE, SAVE_BACK, SAVE, SAVE_BACK, PURGE, SYNC_BACK]],
  [
    "a key that is to be deleted is not saved back, and no source brings it",
    [SYNC, { ...PURGE_REVOKE, ...disobeyed }, { ...SAVE_BACK, code: EXISTS }, { ...SYNC_BACK, code: NOTHING }],
  ],
  [
    "a key that is to be deleted is not saved back over another one",
    [SYNC, { ...SAVE_REVOKE, ...disobeyed }, { ...SAVE_BACK, code: EXISTS }, RECONCILE],
  ],
  [
    "one key an hour, and those that a person asks for",
    [
      { ...SYNC, ...ONE_AN_HOUR },
      { ...BOB, ...ONE_AN_HOUR, code: UNKNOWN },
      { args: ["provision", "--user", "bob"], ...ONE_AN_HOUR },
      { ...SYNC, ...ONE_AN_HOUR },
    ],
  ],
  [
    "an operation that cannot be counted comes to nothing",
    [{ ...SYNC, store: away("store.liveOperations", 2), code: AWAY }, SYNC],
  ],
  ["purge of nobody", [SYNC, { args: ["purge", "--user", "bob", "--yes"] }]],
  ["purge --revoke of nobody", [SYNC, { args: ["purge", "--user", "bob", "--yes", "--revoke"] }]],
  ["purge --revoke of a key that is not ours", [SYNC_GIVEN, { ...PURGE_REVOKE, code: EXISTS }]],
  ["purge --revoke-foreign", [SYNC_GIVEN, PURGE_FOREIGN]],
  [
    "purge --revoke-foreign of another user's key",
    [SYNC_GIVEN, { ...BOB, environmentKey: KEY }, { ...PURGE_FOREIGN, code: EXISTS }],
  ],
  [
    "purge --revoke that upstream does not obey is finished by another",
    [SYNC, { ...PURGE_REVOKE, upstream: always("DELETE /keys/{hash}", { status: 403 }), code: PENDING }, PURGE_REVOKE],
  ],
  ["a POST whose answer is lost is looked for and removed", [{ ...SYNC, ...lostPost }, SYNC, RECONCILE]],
  [
    "a POST that happens twice",
    [
      { ...SYNC, upstream: on("POST /keys", "twice") },
      { ...RECONCILE, ...stale },
    ],
  ],
  [
    "a POST that happens late is found by reconcile",
    [
      { ...SYNC, upstream: on("POST /keys", "late-apply"), code: UNKNOWN },
      SYNC,
      { ...RECONCILE, before: () => sleep(600) },
    ],
  ],
  [
    "a lost POST, and the list fails as well",
    [
      {
        ...SYNC,
        code: UNKNOWN,
        upstream: (request) =>
          request.route === "POST /keys" ? "reset-after" : request.route === "GET /keys" ? { status: 403 } : "pass",
      },
      RECONCILE,
      SYNC,
    ],
  ],
  ["a POST that is answered 503", [{ ...SYNC, upstream: always("POST /keys", { status: 503 }), code: UNKNOWN }, SYNC]],
  [
    "a POST that is refused",
    [
      { ...SYNC, upstream: always("POST /keys", { status: 401 }), code: REFUSED },
      { ...PROVISION, upstream: always("POST /keys", { status: 402 }), code: REFUSED },
      SYNC,
    ],
  ],
  [
    "a POST that is to slow down",
    [{ ...SYNC, upstream: on("POST /keys", { status: 429, headers: { "retry-after": "0" } }, "pass") }],
  ],
  [
    "the insert of the row is not answered, and has happened",
    [{ ...SYNC, store: losing("store.insert", "done") }, RECONCILE],
  ],
  [
    "the insert of the row is not answered, and has not happened",
    [{ ...SYNC, store: losing("store.insert", "not done") }, RECONCILE],
  ],
  [
    "the insert of a given row is not answered",
    [
      { ...SYNC_GIVEN, store: losing("store.insert", "not done"), code: AWAY },
      { ...SYNC_GIVEN, store: losing("store.insert", "done") },
    ],
  ],
  [
    "journal entries are not answered",
    [
      { ...SYNC, store: losing("store.insertEntry", "done", 2) },
      { ...PURGE_REVOKE, store: losing("store.insertEntry", "not done") },
    ],
  ],
  [
    "the replacement of a row is not answered",
    [
      SYNC,
      { ...SAVE_REVOKE, store: losing("store.replace", "not done"), code: AWAY },
      { ...SAVE_REVOKE, store: losing("store.replace", "done") },
    ],
  ],
  [
    "the removal of a row is not answered",
    [
      SYNC,
      { ...PURGE_REVOKE, store: losing("store.remove", "not done"), code: AWAY },
      { ...PURGE_REVOKE, store: losing("store.remove", "done") },
    ],
  ],
  [
    "reconcile --fix of one user",
    [
      SYNC,
      { ...SAVE_REVOKE, upstream: always("PATCH /keys/{hash}", { status: 403 }), code: PENDING },
      RECONCILE_ALICE,
      RECONCILE_ALICE,
    ],
  ],
  ["reconcile --fix of two users", [SYNC, BOB, { ...SYNC, args: ["sync", "--user", "carol"] }, RECONCILE]],
  [
    "a list that breaks off repairs nothing",
    [SYNC, { ...RECONCILE, upstream: always("GET /keys", { status: 403 }), code: REFUSED }],
  ],
];

describe("what a command does to its ports is what the model does", () => {
  it.each(SCENES)("%s", async (_, steps) => {
    const recorded = await recordedScene(steps);
    expect(refusalsOf(recorded)).toEqual([]);
    expect(recorded.flatMap(({ trace }) => trace).length).toBeGreaterThan(steps.length);
  });
});

/** What a sync that makes a key did to its ports. */
async function makingTrace(change: (ports: Ports) => Ports = (ports) => ports): Promise<UserTrace> {
  const { traces } = await recordedInProcess(emptyHome(), await mockOpenRouter(), SYNC, (ports) => ports, change);
  const [trace] = traces;
  if (trace === undefined) throw new Error("nothing was recorded");
  return trace;
}

describe("the model refuses what a command", () => {
  it("does too early: the outcome before the row", async () => {
    const trace = await makingTrace((ports) => ({ ...ports, store: decidingFirst(ports.store) }));
    expect(replayed(trace)).toMatchObject({
      ok: false,
      expected: [expect.stringMatching(/^row\.insert /)],
      got: { access: "journal.insert out" },
    });
  });

  it("does twice: the POST", async () => {
    const trace = await makingTrace();
    const post = trace.trace.findIndex(({ access }) => access === "upstream.post");
    const twice = trace.trace.toSpliced(post, 0, ...trace.trace.slice(post, post + 1));
    expect(replayed({ ...trace, trace: twice })).toMatchObject({ ok: false, at: post + 1 });
  });

  it("does not do, wherever it is left out", async () => {
    const trace = await makingTrace();
    const missing = trace.trace
      .slice(0, -1)
      .map((_, at) => replayed({ ...trace, trace: trace.trace.toSpliced(at, 1) }));
    expect(missing.filter(({ ok }) => ok)).toEqual([]);
  });
});

/** A store in the hands of somebody who has the order wrong. */
function decidingFirst(store: Ports["store"]): Ports["store"] {
  return {
    ...store,
    async insert(row, signal) {
      if (isTombstone(row)) return store.insert(row, signal);
      const { userId, generation: n, keyHash: hash, upstreamHash } = row;
      const entry = {
        kind: "out",
        outcome: "saved",
        at: row.createdAt,
        n,
        userId,
        hash: hash ?? "",
        upstreamHash,
      } as const;
      await store.insertEntry(entry, signal);
      return store.insert(row, signal);
    },
  };
}
