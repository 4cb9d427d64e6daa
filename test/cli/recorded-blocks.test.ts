import { describe, expect, it } from "vitest";
import type { Ports } from "../../src/compose.ts";
import { KEY, MADE, OTHER } from "../support/fixtures/keys.ts";
import { withCalls } from "../support/home/tool-with-openrouter.ts";
import type { Given } from "../support/recording/keyctl.ts";
import { refusalsOf, replayed } from "../support/recording/runs.ts";
import { away, losing, recordedScene } from "../support/recording/scenes.ts";
import type { Step } from "../support/recording/scenes.ts";

const ALICE = ["--user", "alice"];
const SYNC: Given = { args: ["sync", ...ALICE] };
const SYNC_GIVEN: Given = { ...SYNC, environmentKey: KEY };
/** With the text of the first key that OpenRouter makes. */
const SYNC_BACK: Given = { ...SYNC, environmentKey: MADE };
const GET: Given = { args: ["get", ...ALICE] };
const PROVISION: Given = { args: ["provision", ...ALICE] };
const SAVE: Given = { args: ["save", ...ALICE, "--stdin", "--replace"], input: OTHER };
const ROTATE: Given = { args: ["rotate", ...ALICE] };
const ROTATE_NOW: Given = { args: [...ROTATE.args, "--grace", "0"] };
const PURGE: Given = { args: ["purge", ...ALICE, "--yes"] };
const PURGE_REVOKE: Given = { args: [...PURGE.args, "--revoke"] };
const RECONCILE: Given = { args: ["reconcile", "--fix"] };
const BLOCK: Given = { args: [...PURGE.args, "--block"], call: (keys) => keys.block("alice") };
const BLOCK_REVOKE: Given = {
  args: [...BLOCK.args, "--revoke"],
  call: (keys) => keys.block("alice", { revoke: "ours" }),
};
const UNBLOCK: Given = { args: ["unblock", ...ALICE], call: (keys) => keys.unblock("alice") };

const AWAY = 7;
const BLOCKED = 8;

const refused = (given: Given): Step => ({ ...given, code: BLOCKED });
/** The purge has recorded its block, and dies before it changes the row. */
const dies = (given: Given): Step => ({ ...given, store: away("store.replace", 1), code: AWAY });

const SCENES: readonly (readonly [string, readonly Step[]])[] = [
  [
    "a blocked user gets no key from anywhere, until the unblock",
    [SYNC, BLOCK, ...[SYNC, SYNC_GIVEN, GET, PROVISION, SAVE, ROTATE].map(refused), RECONCILE, UNBLOCK, SYNC],
  ],
  ["a user without a key is blocked", [SYNC, PURGE, BLOCK, refused(SYNC_GIVEN), UNBLOCK, SYNC_GIVEN]],
  ["a key that a person saved makes room for a block", [SAVE, BLOCK, refused(SYNC), UNBLOCK, SAVE]],
  ["a block that takes the keys with it", [SYNC, SAVE, PURGE, SYNC, BLOCK_REVOKE, refused(SYNC), RECONCILE, UNBLOCK]],
  ["a block within a grace", [PROVISION, ROTATE, BLOCK, RECONCILE, UNBLOCK, SYNC]],
  ["a block that ends a grace", [PROVISION, ROTATE, BLOCK_REVOKE, RECONCILE, UNBLOCK, SYNC]],
  ["a blocked user is blocked and purged again", [SYNC, BLOCK, BLOCK, PURGE, PURGE_REVOKE, BLOCK_REVOKE, refused(GET)]],
  ["an unblock of nobody, and of a user with a key", [SYNC, PURGE, UNBLOCK, SYNC, UNBLOCK, GET]],
  ["a kept key is given again after a block", [SYNC, BLOCK, refused(SYNC_BACK), UNBLOCK, SYNC_BACK, BLOCK]],
  ["a block that died is finished by reconcile", [SYNC, dies(BLOCK), RECONCILE, refused(SYNC), UNBLOCK]],
  ["a block that died is finished by reconcile, with its keys", [SYNC, dies(BLOCK_REVOKE), RECONCILE, refused(SYNC)]],
  ["a block that died is finished by a purge", [SYNC, dies(BLOCK), PURGE, refused(SYNC), UNBLOCK]],
  ["a block that died is finished without it by an unblock", [SYNC, dies(BLOCK), UNBLOCK, RECONCILE, SYNC]],
  [
    "the tombstone is not answered",
    [
      SYNC,
      { ...BLOCK, store: losing("store.replace", "not done"), code: AWAY },
      { ...BLOCK, store: losing("store.replace", "done") },
      { ...UNBLOCK, store: losing("store.remove", "not done"), code: AWAY },
      { ...UNBLOCK, store: losing("store.remove", "done") },
      { ...BLOCK, store: losing("store.insert", "not done"), code: AWAY },
      { ...BLOCK, store: losing("store.insert", "done") },
    ],
  ],
  [
    "a sync that creates a key finds a block in its place",
    [{ ...refused(SYNC), meanwhile: { when: "before insert", steps: [BLOCK] } }, RECONCILE, UNBLOCK, SYNC],
  ],
  [
    "a key of the environment finds a block in its place",
    [{ ...refused(SYNC_GIVEN), meanwhile: { when: "before insert", steps: [BLOCK] } }],
  ],
  [
    "a sync loses SETTLE to a block",
    [{ ...refused(SYNC), meanwhile: { when: "before replace", steps: [BLOCK] } }, RECONCILE],
  ],
  [
    "a sync loses SETTLE to a purge, and begins again",
    [{ ...SYNC, meanwhile: { when: "before replace", steps: [PURGE] } }, GET],
  ],
  [
    "a sync loses SETTLE to a reconcile, and its key is still there",
    [{ ...SYNC, meanwhile: { when: "before replace", steps: [RECONCILE] } }, GET],
  ],
  [
    "SETTLE is not answered, and the key is still there",
    [
      { ...SYNC, store: losing("store.replace", "not done") },
      // The row is not settled.
      SYNC,
      RECONCILE,
      SYNC,
    ],
  ],
  [
    "a reader finds an unsettled row",
    [
      { ...SYNC, meanwhile: { when: "before insertEntry", nth: 2, steps: [SYNC, GET] } },
      { ...SAVE, meanwhile: { when: "after replace", steps: [BLOCK] } },
      refused(SYNC),
    ],
  ],
  [
    "an unsettled row is taken by a block after its outcome was read",
    [
      {
        ...SYNC,
        meanwhile: {
          when: "before insertEntry",
          nth: 2,
          steps: [{ ...refused(SYNC), meanwhile: { when: "after insertEntry", steps: [BLOCK] } }],
        },
        code: BLOCKED,
      },
    ],
  ],
  [
    "a save and a rotation lose the row to a block",
    [
      SYNC,
      { ...refused(SAVE), meanwhile: { when: "before replace", steps: [BLOCK] } },
      UNBLOCK,
      SYNC,
      { ...refused(ROTATE), meanwhile: { when: "before replace", steps: [BLOCK] } },
      RECONCILE,
      UNBLOCK,
    ],
  ],
  [
    "a rotation whose key is taken by a block before SETTLE, and after it",
    [
      SYNC,
      { ...refused(ROTATE), meanwhile: { when: "before replace", nth: 2, steps: [BLOCK] } },
      UNBLOCK,
      SYNC,
      { ...refused(ROTATE_NOW), meanwhile: { when: "after replace", nth: 2, steps: [BLOCK] } },
      RECONCILE,
    ],
  ],
  [
    "a rotation loses SETTLE to a reconcile, and its key is still there",
    [SYNC, { ...ROTATE, meanwhile: { when: "before replace", nth: 2, steps: [RECONCILE] } }, GET],
  ],
  [
    "an unblock loses its tombstone, and a block its row, to each other",
    [
      SYNC,
      { ...BLOCK, meanwhile: { when: "before replace", steps: [UNBLOCK, SYNC] } },
      { ...UNBLOCK, meanwhile: { when: "before remove", steps: [UNBLOCK, BLOCK] } },
      SYNC,
    ],
  ],
];

/** FerretDB 1. */
const notAtomic: (ports: Ports) => Ports = withCalls(() => ({ hasAtomicChanges: async () => false }));
const onFerret = (given: Step): Step => ({ ...given, store: notAtomic });

const SPLIT_SCENES: readonly (readonly [string, readonly Step[]])[] = [
  ["a key is created, blocked and created again", [SYNC, BLOCK, refused(SYNC), UNBLOCK, SYNC, BLOCK_REVOKE, RECONCILE]],
  [
    "a sync is blocked before SETTLE",
    [{ ...refused(SYNC), meanwhile: { when: "before replace", steps: [onFerret(BLOCK)] } }],
  ],
  [
    "a sync is blocked after SETTLE",
    [{ ...refused(SYNC), meanwhile: { when: "after replace", steps: [onFerret(BLOCK)] } }],
  ],
  [
    "a key is stored while the row of a block is gone",
    [SYNC, { ...BLOCK, meanwhile: { when: "after remove", steps: [onFerret(SYNC)] } }, refused(SYNC)],
  ],
];

describe("what a block does to its ports, and what others do beside it, is what the model does", () => {
  it.each(SCENES)("%s", async (_, steps) => {
    const recorded = await recordedScene(steps);
    expect(refusalsOf(recorded)).toEqual([]);
    expect(recorded.flatMap(({ trace }) => trace).length).toBeGreaterThan(steps.length);
  });

  it.each(SPLIT_SCENES)("where a row is not changed atomically, %s", async (_, steps) => {
    const recorded = await recordedScene(steps.map(onFerret));
    expect(refusalsOf(recorded)).toEqual([]);
    expect(recorded.filter(({ options }) => options.split === true)).not.toEqual([]);
  });
});

describe("the model refuses what a block, or an unblock", () => {
  it("does not do, wherever it is left out", async () => {
    const recorded = await recordedScene([SYNC, BLOCK_REVOKE, UNBLOCK]);
    const missing = recorded.slice(1).flatMap((one) =>
      one.trace.slice(0, -1).map((access, at) => ({
        access,
        ...replayed({ ...one, trace: one.trace.toSpliced(at, 1) }),
      })),
    );
    expect(missing.flatMap(({ ok, access }) => (ok ? [access] : []))).toEqual([]);
  });
});
