import { describe, expect, it } from "vitest";
import { KeyctlError } from "../../src/core/model/errors.ts";
import { hashOf, keyEnding, MADE, OTHER } from "../support/fixtures/keys.ts";
import type { Home } from "../support/home/home.ts";
import { withCalls } from "../support/home/tool-with-openrouter.ts";
import { always, on } from "../support/openrouter/faults.ts";
import { ageStoredKeys, ageOperations, endGraces, killKeys } from "../support/openrouter/made-keys.ts";
import type { OpenRouterServer } from "../support/openrouter/server.ts";
import type { Given } from "../support/recording/keyctl.ts";
import { refusalsOf, replayed } from "../support/recording/runs.ts";
import { away, losing, recordedScene } from "../support/recording/scenes.ts";
import type { Step } from "../support/recording/scenes.ts";

const ALICE = ["--user", "alice"];
const PROVISION: Given = { args: ["provision", ...ALICE, "--limit", "10", "--limit-reset", "monthly"] };
const SYNC: Given = { args: ["sync", ...ALICE] };
/** The first key that OpenRouter makes. */
const LEAKED: Given = { args: ["leaked", "--stdin"], input: MADE };
const LEAKED_OTHER: Given = { ...LEAKED, input: OTHER };
const LEAKED_SECOND: Given = { ...LEAKED, input: keyEnding("0002") };
const ROTATE: Given = { args: ["rotate", ...ALICE, "--include-disabled"] };
const ROTATE_NOW: Given = { args: [...ROTATE.args, "--grace", "0"] };
const FINISH: Given = { args: ["rotate", "--finish"] };
const RENEW_DISABLED: Given = { args: ["renew", ...ALICE, "--include-disabled"] };
const SAVE: Given = { args: ["save", ...ALICE, "--stdin", "--replace"], input: OTHER };
const SAVE_BACK: Given = { ...SAVE, input: MADE };
const PURGE: Given = { args: ["purge", ...ALICE, "--yes"] };
const PURGE_REVOKE: Given = { args: [...PURGE.args, "--revoke"] };
const BLOCK: Given = { args: [...PURGE.args, "--block"], call: (keys) => keys.block("alice") };
const UNBLOCK: Given = { args: ["unblock", ...ALICE], call: (keys) => keys.unblock("alice") };
const RECONCILE: Given = { args: ["reconcile", "--fix"] };

const REFUSED = 4;
const UNKNOWN = 6;
const AWAY = 7;
const EXISTS = 8;
const PENDING = 10;

const disobeyed = { upstream: always("PATCH /keys/{hash}", { status: 402 }), code: PENDING } as const;

/** The other command waits neither for an operation that is under way nor for a new key that may be refused at first. */
function age(home: Home): void {
  ageStoredKeys(home);
  ageOperations(home);
}

/** No outcome can be recorded. */
const undecided = withCalls((store) => ({
  async insertEntry(entry, signal) {
    if (entry.kind === "out") throw new KeyctlError("STORE_UNAVAILABLE", "it has gone away");
    return store.insertEntry(entry, signal);
  },
}));

/** The keys are in a guardrail and in an allow-list, and have spent something. */
function restrict(_: Home, openRouter: OpenRouterServer): void {
  const hashes = [...openRouter.keys.keys()];
  const guardrail = openRouter.addGuardrail();
  for (const hash of hashes) {
    openRouter.assignGuardrail(guardrail, hash);
    openRouter.spend(hash, 6.8);
  }
  openRouter.addCredential({ allowedKeys: hashes });
}

const SCENES: readonly (readonly [string, readonly Step[]])[] = [
  ["a current key is disabled, replaced and deleted, and that once", [PROVISION, LEAKED, LEAKED, SYNC, RECONCILE]],
  ["of which the hash is known", [PROVISION, { args: ["leaked", "--hash", hashOf(MADE)] }, SYNC]],
  ["with restrictions and a spent limit", [PROVISION, { ...LEAKED, before: restrict }, RECONCILE]],
  ["that was deleted by hand", [PROVISION, { ...LEAKED, before: killKeys }, RECONCILE]],
  ["in its grace", [PROVISION, ROTATE, LEAKED, { ...FINISH, before: endGraces }, RECONCILE]],
  ["beside another one in its grace", [PROVISION, ROTATE, { args: ["leaked", "--hash", hashOf(MADE)] }, RECONCILE]],
  ["that a save kept", [SYNC, SAVE, LEAKED, { ...SAVE_BACK, code: EXISTS }, RECONCILE]],
  ["that a purge kept", [SYNC, PURGE, LEAKED, SYNC]],
  ["that a purge has left to reconcile", [SYNC, { ...PURGE_REVOKE, ...disobeyed }, LEAKED, RECONCILE]],
  ["that a person saved again", [SYNC, PURGE, SAVE_BACK, LEAKED, { ...SAVE_BACK, code: EXISTS }, RECONCILE]],
  ["of a blocked user", [SYNC, BLOCK, LEAKED, UNBLOCK, SYNC]],
  [
    "that keyctl did not create",
    [{ ...SAVE, before: (_, { addKey }) => void addKey(OTHER) }, LEAKED_OTHER, LEAKED_OTHER],
  ],
  ["whose disabling is not confirmed", [PROVISION, { ...LEAKED, ...disobeyed }, LEAKED, RECONCILE]],
  [
    "whose disabling is lost, and sent again",
    [PROVISION, { ...LEAKED, upstream: on("PATCH /keys/{hash}", "reset-after") }],
  ],
  [
    "whose successor cannot be created, or is lost",
    [
      PROVISION,
      { ...LEAKED, upstream: always("POST /keys", { status: 402 }), code: REFUSED },
      { ...LEAKED, upstream: on("POST /keys", "reset-after"), code: UNKNOWN },
      LEAKED,
      RECONCILE,
    ],
  ],
  [
    "whose successor cannot be restricted",
    [
      PROVISION,
      {
        ...LEAKED,
        before: restrict,
        upstream: always("POST /guardrails/{id}/assignments/keys", { status: 403 }),
        code: UNKNOWN,
      },
      LEAKED,
    ],
  ],
  [
    "whose deletion is not confirmed",
    [
      PROVISION,
      { ...LEAKED, upstream: always("DELETE /keys/{hash}", { status: 402 }), code: PENDING },
      LEAKED,
      RECONCILE,
    ],
  ],
  [
    "while the store goes away before the operation, and the same command goes on",
    [PROVISION, { ...LEAKED, store: away("store.insertEntry", 1), code: AWAY }, LEAKED, RECONCILE],
  ],
  [
    "while the store goes away after the commit, and the same command goes on",
    [PROVISION, { ...LEAKED, store: away("store.insertEntry", 3), code: PENDING }, LEAKED, RECONCILE],
  ],
  [
    "in a row that is not settled",
    [{ ...SYNC, store: losing("store.replace", "not done") }, LEAKED, { ...LEAKED, args: [...LEAKED.args, "--json"] }],
  ],
  [
    "whose outcome is not recorded, and the next one, and the key that it replaces",
    [PROVISION, { ...ROTATE_NOW, store: undecided, code: AWAY }, LEAKED_SECOND, LEAKED_SECOND, LEAKED, RECONCILE],
  ],
  [
    "that a rotation is about to replace",
    [PROVISION, { ...ROTATE_NOW, store: undecided, code: AWAY }, LEAKED, SYNC, RECONCILE],
  ],
  [
    "while its rotation cannot record its outcome, and is undone",
    [PROVISION, { ...LEAKED, store: away("store.insertEntry", 2), code: AWAY }, LEAKED, RECONCILE],
  ],
  [
    "while the change of the row is not answered",
    [PROVISION, { ...LEAKED, store: losing("store.replace", "not done") }, RECONCILE],
  ],
  [
    "while the change of the row is not answered, and has happened",
    [PROVISION, { ...LEAKED, store: losing("store.replace", "done") }],
  ],
  ["while journal entries are not answered", [PROVISION, { ...LEAKED, store: losing("store.insertEntry", "done", 4) }]],
  ...[SAVE, PURGE, PURGE_REVOKE, BLOCK, ROTATE, ROTATE_NOW, RENEW_DISABLED, LEAKED].flatMap(conflictsWith),
];

/** Another command comes before each change that the rotation of a leaked key makes. */
function conflictsWith(other: Given): readonly (readonly [string, readonly Step[]])[] {
  const words = other.args.filter((word) => word !== "--user" && word !== "alice").join(" ");
  const moments = [
    ["before insertEntry", 1],
    ["before insertEntry", 2],
    ["before replace", 1],
    ["before replace", 2],
  ] as const;
  return moments.map(([when, nth]) => [
    `with ${words} ${when} ${nth}`,
    [PROVISION, { ...LEAKED, meanwhile: { when, nth, steps: [{ ...other, before: age }] } }, RECONCILE],
  ]);
}

describe("what `leaked` does to its ports is what the model does, for a key", () => {
  it.each(SCENES)("%s", async (_, steps) => {
    const recorded = await recordedScene(steps);
    expect(refusalsOf(recorded)).toEqual([]);
    expect(recorded.filter(({ kind }) => kind === "leaked")).not.toEqual([]);
  });
});

describe("the model refuses what `leaked`", () => {
  it("does not do, wherever it is left out", async () => {
    const [, ...recorded] = await recordedScene([PROVISION, ROTATE, LEAKED, { ...LEAKED, input: OTHER }]);
    const missing = recorded
      .filter(({ kind }) => kind === "leaked")
      .flatMap((one) =>
        one.trace.slice(0, -1).map((access, at) => ({
          access,
          ...replayed({ ...one, trace: one.trace.toSpliced(at, 1) }),
        })),
      );
    expect(missing.flatMap(({ ok, access }) => (ok ? [access] : []))).toEqual([]);
  });
});
