import { describe, expect, it } from "vitest";
import { OTHER } from "../support/fixtures/keys.ts";
import type { Home } from "../support/home/home.ts";
import { always, on } from "../support/openrouter/faults.ts";
import { ageStoredKeys, ageOperations, killKeys } from "../support/openrouter/made-keys.ts";
import type { OpenRouterServer } from "../support/openrouter/server.ts";
import { inProcess } from "../support/programs/in-process.ts";
import { environmentFor } from "../support/recording/keyctl.ts";
import type { Given } from "../support/recording/keyctl.ts";
import { refusalsOf, replayed } from "../support/recording/runs.ts";
import { away, losing, recordedScene } from "../support/recording/scenes.ts";
import type { Step } from "../support/recording/scenes.ts";

const ALICE = ["--user", "alice"];
const PROVISION: Given = { args: ["provision", ...ALICE, "--limit", "10", "--limit-reset", "monthly"] };
const SYNC: Given = { args: ["sync", ...ALICE] };
const RENEW: Given = { args: ["renew", ...ALICE] };
const RENEW_DISABLED: Given = { args: [...RENEW.args, "--include-disabled"] };
const ROTATE: Given = { args: ["rotate", ...ALICE] };
const ROTATE_NOW: Given = { args: [...ROTATE.args, "--grace", "0", "--include-disabled"] };
const SAVE: Given = { args: ["save", ...ALICE, "--stdin", "--replace"], input: OTHER };
const PURGE: Given = { args: ["purge", ...ALICE, "--yes"] };
const BLOCK: Given = { args: [...PURGE.args, "--block"], call: (keys) => keys.block("alice") };
const RECONCILE: Given = { args: ["reconcile", "--fix"] };
const ONE_AN_HOUR = { env: { KEYCTL_MAX_PROVISIONS_PER_HOUR: "1" } };

const NO_KEY = 3;
const REFUSED = 4;
const DEAD = 5;
const UNKNOWN = 6;
const BLOCKED = 8;
const PENDING = 10;

/** The key in the row is deleted at OpenRouter before this command. */
const afterDeath = (given: Step): Step => ({ ...given, before: killKeys });
const RENEW_DEAD = afterDeath(RENEW);

function disableKeys(home: Home, { keys }: OpenRouterServer): void {
  ageStoredKeys(home);
  for (const key of keys.values()) key.disabled = true;
}

/** The keys get a guardrail, and have spent something. */
function guard(_: Home, openRouter: OpenRouterServer): void {
  const guardrail = openRouter.addGuardrail();
  for (const hash of openRouter.keys.keys()) {
    openRouter.assignGuardrail(guardrail, hash);
    openRouter.spend(hash, 6.8);
  }
}

function guardAndKill(home: Home, openRouter: OpenRouterServer): void {
  guard(home, openRouter);
  killKeys(home, openRouter);
}

/** A program's call is refused with the first key. In the meantime, another command runs. */
function calling(between: Given | null): Step {
  let place: readonly [Home, OpenRouterServer] | null = null;
  return {
    args: RENEW.args,
    before: (...given) => {
      place = given;
      killKeys(...given);
    },
    call: async (keys) => {
      const { autoRenewalError } = await keys.withUserKey("alice", async (_key, { attempt }) => {
        if (attempt === 2) return "answered";
        if (between !== null && place !== null) await running(between, ...place);
        return Response.json({ error: { code: 401, message: "User not found." } }, { status: 401 });
      });
      return { error: autoRenewalError };
    },
  };
}

async function running({ args, input = "" }: Given, home: Home, openRouter: OpenRouterServer): Promise<void> {
  const { code } = await inProcess(home, args, { env: environmentFor(openRouter), input, besideOthers: true });
  expect(code).toBe(0);
}

const SCENES: readonly (readonly [string, readonly Step[]])[] = [
  ["a dead key is renewed, and the new one is left alone", [PROVISION, RENEW_DEAD, RENEW, SYNC, RECONCILE]],
  ["a key that works is left alone", [PROVISION, RENEW, SYNC]],
  [
    "a disabled key is renewed on request",
    [PROVISION, { ...RENEW, before: disableKeys, code: DEAD }, RENEW_DISABLED, RECONCILE],
  ],
  ["a key that keyctl did not create is renewed, and left", [SAVE, RENEW_DEAD, RECONCILE]],
  ["nobody's key, and a blocked user's", [{ ...RENEW, code: NO_KEY }, SYNC, BLOCK, { ...RENEW, code: BLOCKED }]],
  [
    "restrictions and a lowered limit that only the row knows",
    [PROVISION, { ...ROTATE, before: guard }, { ...RENEW, before: guardAndKill }, RECONCILE],
  ],
  [
    "a disabled key with restrictions and a spent limit",
    [
      PROVISION,
      { ...ROTATE, before: guard },
      {
        ...RENEW_DISABLED,
        before: (...place) => {
          guard(...place);
          disableKeys(...place);
        },
      },
    ],
  ],
  [
    "a new key that cannot be restricted ends the renewal",
    [
      PROVISION,
      { ...ROTATE, before: guard },
      {
        ...RENEW,
        before: guardAndKill,
        upstream: always("POST /guardrails/{id}/assignments/keys", { status: 403 }),
        code: UNKNOWN,
      },
      RENEW,
    ],
  ],
  [
    "the hourly cap counts renewals",
    [PROVISION, { ...RENEW_DEAD, ...ONE_AN_HOUR }, { ...RENEW_DEAD, ...ONE_AN_HOUR, code: UNKNOWN }, RENEW],
  ],
  [
    "an operation that cannot be counted comes to nothing",
    [PROVISION, { ...RENEW_DEAD, store: away("store.liveOperations", 2), code: 7 }, RENEW],
  ],
  [
    "a rotation that is not settled is renewed",
    [SYNC, { ...ROTATE_NOW, store: away("store.insertEntry", 3), code: PENDING }, RENEW_DEAD],
  ],
  ["a key that works, in a row that is not settled", [{ ...SYNC, store: losing("store.replace", "not done") }, RENEW]],
  [
    "a key that works, in a row that is not settled and names another one",
    [SYNC, { ...ROTATE_NOW, store: away("store.insertEntry", 3), code: PENDING }, RENEW, RECONCILE],
  ],
  [
    "the POST is lost, or refused",
    [
      PROVISION,
      { ...RENEW_DEAD, upstream: on("POST /keys", "reset-after"), code: UNKNOWN },
      { ...RENEW, upstream: always("POST /keys", { status: 402 }), code: REFUSED },
      { ...RENEW, upstream: on("POST /keys", { status: 429, headers: { "retry-after": "0" } }, "pass") },
    ],
  ],
  [
    "the change of the row is not answered, and has happened",
    [PROVISION, { ...RENEW_DEAD, store: losing("store.replace", "done") }, RECONCILE],
  ],
  [
    "the change of the row is not answered, and has not happened",
    [PROVISION, { ...RENEW_DEAD, store: losing("store.replace", "not done") }, RECONCILE],
  ],
  [
    "journal entries are not answered",
    [
      PROVISION,
      { ...RENEW_DEAD, store: losing("store.insertEntry", "done", 4) },
      { ...RENEW_DEAD, store: losing("store.insertEntry", "not done") },
    ],
  ],
  [
    "the store goes away after the commit",
    [PROVISION, { ...RENEW_DEAD, store: away("store.insertEntry", 3) }, RENEW, RECONCILE],
  ],
  ...[SAVE, PURGE, ROTATE_NOW, RENEW, BLOCK].flatMap((other) => conflictsWith(other)),
  ["a program's call", [SYNC, calling(null), RECONCILE]],
  ["a program's call whose key was saved over in the meantime", [SYNC, calling(SAVE), RECONCILE]],
  ["a program's call whose key was rotated in the meantime", [SYNC, calling(ROTATE_NOW), RECONCILE]],
  ["a program's call whose key was renewed in the meantime", [SYNC, calling(RENEW), RECONCILE]],
];

/** Another command comes before each change that a renewal makes. */
function conflictsWith(other: Given): readonly (readonly [string, readonly Step[]])[] {
  const isBlock = other === BLOCK;
  const name = isBlock ? "purge --block" : other.args[0];
  const at = ["before insertEntry 1", "before insertEntry 2", "before replace 1", "before replace 2"] as const;
  return at.map((moment) => {
    const [when, nth] = [moment.slice(0, -2) as "before replace", Number(moment.slice(-1))];
    const code = isBlock ? BLOCKED : other === PURGE ? NO_KEY : 0;
    // The other command does not wait for an operation that is under way.
    const steps = [{ ...other, before: ageOperations }];
    const renewal: Step = { ...RENEW_DEAD, code, meanwhile: { when, nth, steps } };
    return [`${name} ${moment} of a renewal`, [PROVISION, renewal, RECONCILE]];
  });
}

describe("what renewals do to their ports is what the model does", () => {
  it.each(SCENES)("%s", async (_, steps) => {
    const recorded = await recordedScene(steps);
    expect(refusalsOf(recorded)).toEqual([]);
    expect(recorded.flatMap(({ trace }) => trace).length).toBeGreaterThan(steps.length);
  });
});

describe("the model refuses what a renewal", () => {
  it("does not do, wherever it is left out", async () => {
    const renewal = (await recordedScene([PROVISION, RENEW_DEAD])).find(({ kind }) => kind === "renew");
    if (renewal === undefined) throw new Error("nothing was recorded");
    const missing = renewal.trace
      .slice(0, -1)
      .map((_, at) => replayed({ ...renewal, trace: renewal.trace.toSpliced(at, 1) }));
    expect(missing.flatMap(({ ok }, at) => (ok ? [renewal.trace[at]] : []))).toEqual([]);
  });
});
