import { describe, expect, it } from "vitest";
import { MADE, OTHER } from "../support/fixtures/keys.ts";
import type { Home } from "../support/home/home.ts";
import { always, on } from "../support/openrouter/faults.ts";
import { ageOperations, endGraces } from "../support/openrouter/made-keys.ts";
import type { OpenRouterServer } from "../support/openrouter/server.ts";
import type { Given } from "../support/recording/keyctl.ts";
import { refusalsOf, replayed } from "../support/recording/runs.ts";
import { away, losing, recordedScene } from "../support/recording/scenes.ts";
import type { Step } from "../support/recording/scenes.ts";

const ALICE = ["--user", "alice"];
const PROVISION: Given = { args: ["provision", ...ALICE, "--limit", "10", "--limit-reset", "monthly"] };
const ROTATE: Given = { args: ["rotate", ...ALICE] };
const ROTATE_NOW: Given = { args: [...ROTATE.args, "--grace", "0"] };
const FINISH: Given = { args: ["rotate", "--finish"] };
const SYNC: Given = { args: ["sync", ...ALICE] };
const SAVE: Given = { args: ["save", ...ALICE, "--stdin", "--replace"], input: OTHER };
const SAVE_REVOKE: Given = { ...SAVE, args: [...SAVE.args, "--revoke"] };
/** The key that is in its grace after the first rotation. */
const SAVE_BACK: Given = { ...SAVE, input: MADE };
const PURGE: Given = { args: ["purge", ...ALICE, "--yes"] };
const PURGE_REVOKE: Given = { args: [...PURGE.args, "--revoke"] };
const RECONCILE: Given = { args: ["reconcile", "--fix"] };

const REFUSED = 4;
const AWAY = 7;
const EXISTS = 8;
const UNKNOWN = 6;
const PENDING = 10;

const later = (given: Given): Step => ({ ...given, before: endGraces });
const disobeyed = { upstream: always("PATCH /keys/{hash}", { status: 403 }), code: PENDING } as const;

/** Every key that there is gets a guardrail, and has spent something. */
function guard(_home: Home, openRouter: OpenRouterServer): void {
  const hashes = [...openRouter.keys.keys()];
  const guardrail = openRouter.addGuardrail();
  for (const hash of hashes) openRouter.assignGuardrail(guardrail, hash);
  for (const hash of hashes) openRouter.spend(hash, 6.8);
}

/** As `guard`, and with a place in an allow-list. */
function restrict(home: Home, openRouter: OpenRouterServer): void {
  guard(home, openRouter);
  openRouter.addCredential({ allowedKeys: [...openRouter.keys.keys()] });
}

const SCENES: readonly (readonly [string, readonly Step[]])[] = [
  ["rotate, and finish before and after the grace", [PROVISION, ROTATE, FINISH, later(FINISH), FINISH]],
  [
    "rotate a restricted key with a lowered limit, and finish it",
    [PROVISION, { ...ROTATE, before: restrict }, later(FINISH), RECONCILE],
  ],
  ["reconcile does what finish does", [PROVISION, { ...ROTATE, before: restrict }, RECONCILE, later(RECONCILE)]],
  ["rotate without a grace", [PROVISION, { ...ROTATE_NOW, before: restrict }, RECONCILE]],
  ["rotate without a grace, within a grace", [PROVISION, ROTATE, ROTATE_NOW, FINISH]],
  ["rotate again, within the grace of the first", [PROVISION, ROTATE, { ...ROTATE, before: restrict }, later(FINISH)]],
  ["rotate after the limit's reset", [PROVISION, { ...ROTATE, before: restrict }, later(ROTATE), later(FINISH)]],
  [
    "rotate to another limit",
    [PROVISION, { ...ROTATE, args: [...ROTATE.args, "--limit", "3"], before: restrict }, later(FINISH)],
  ],
  ["the key in its grace is not saved back", [PROVISION, ROTATE, { ...SAVE_BACK, code: EXISTS }, later(FINISH)]],
  ["save within a grace keeps the grace", [PROVISION, ROTATE, SAVE, FINISH, later(FINISH), RECONCILE]],
  ["save --revoke within a grace", [PROVISION, ROTATE, SAVE_REVOKE, later(FINISH), RECONCILE]],
  ["purge within a grace keeps the grace", [PROVISION, ROTATE, PURGE, FINISH, later(FINISH), SYNC]],
  ["purge --revoke ends a grace", [PROVISION, ROTATE, PURGE_REVOKE, SYNC, later(FINISH)]],
  ["rotate a key that another person saved", [SAVE, { ...ROTATE, code: EXISTS }]],
  ["rotate a foreign key and leave it", [SAVE, { ...ROTATE, args: [...ROTATE.args, "--include-foreign"] }, RECONCILE]],
  ["sync finds the key of a rotation", [PROVISION, ROTATE, SYNC, later(SYNC), FINISH]],
  [
    "rotate that upstream does not obey is finished by reconcile",
    [PROVISION, { ...ROTATE_NOW, ...disobeyed }, RECONCILE],
  ],
  [
    "finish that upstream does not obey is done again",
    [PROVISION, ROTATE, { ...later(FINISH), ...disobeyed, code: REFUSED }, FINISH],
  ],
  [
    "finish that upstream does not answer is done again",
    [
      PROVISION,
      ROTATE,
      { ...later(FINISH), upstream: always("DELETE /keys/{hash}", { status: 503 }), code: PENDING },
      FINISH,
    ],
  ],
  [
    "a rotation whose POST is lost, then another",
    [PROVISION, { ...ROTATE, upstream: on("POST /keys", "reset-after"), code: UNKNOWN }, ROTATE, later(FINISH)],
  ],
  [
    "a rotation whose new key cannot be restricted",
    [
      PROVISION,
      {
        ...ROTATE,
        before: restrict,
        upstream: always("POST /guardrails/{id}/assignments/keys", { status: 403 }),
        code: UNKNOWN,
      },
      { ...RECONCILE, before: ageOperations },
    ],
  ],
  [
    "the change of the row is not answered, and has happened",
    [PROVISION, { ...ROTATE, store: losing("store.replace", "done") }, later(FINISH)],
  ],
  [
    "the change of the row is not answered, and has not happened",
    [PROVISION, { ...ROTATE, store: losing("store.replace", "not done"), code: EXISTS }, ROTATE, later(FINISH)],
  ],
  [
    "journal entries are not answered",
    [
      PROVISION,
      { ...ROTATE, store: losing("store.insertEntry", "done", 4) },
      { ...later(FINISH), store: losing("store.insertEntry", "not done") },
    ],
  ],
  [
    "the store goes away after the commit, and the rotation looks whether its key is in use",
    [
      PROVISION,
      { ...ROTATE, store: away("store.insertEntry", 3), code: PENDING },
      { ...ROTATE_NOW, store: away("store.insertEntry", 6), code: PENDING },
      RECONCILE,
    ],
  ],
  [
    "a restored limit is not written down",
    [
      PROVISION,
      { ...ROTATE, before: restrict },
      { ...later(FINISH), store: losing("store.replace", "not done"), code: AWAY },
      FINISH,
    ],
  ],
];

describe("what rotations do to their ports is what the model does", () => {
  it.each(SCENES)("%s", async (_, steps) => {
    const recorded = await recordedScene(steps);
    expect(refusalsOf(recorded)).toEqual([]);
    expect(recorded.flatMap(({ trace }) => trace).length).toBeGreaterThan(steps.length);
  });
});

describe("the model refuses what a rotation", () => {
  it("does not do, wherever it is left out", async () => {
    const rotation = (await recordedScene([PROVISION, { ...ROTATE, before: guard }])).find(
      ({ kind }) => kind === "rotate",
    );
    if (rotation === undefined) throw new Error("nothing was recorded");
    const missing = rotation.trace
      .slice(0, -1)
      .map((_, at) => replayed({ ...rotation, trace: rotation.trace.toSpliced(at, 1) }));
    expect(missing.flatMap(({ ok }, at) => (ok ? [rotation.trace[at]] : []))).toEqual([]);
  });
});
