import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Ports } from "../../src/compose.ts";
import { emptyHome } from "../support/home/home.ts";
import { KEY } from "../support/fixtures/keys.ts";
import { always, on } from "../support/openrouter/faults.ts";
import type { Rule } from "../support/openrouter/faults.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import type { OpenRouterServer } from "../support/openrouter/server.ts";
import { recordedInProcess } from "../support/recording/keyctl.ts";
import type { Given } from "../support/recording/keyctl.ts";
import { losing } from "../support/recording/losing.ts";
import { refusalsOf } from "../support/recording/runs.ts";
import type { UserTrace } from "../support/recording/runs.ts";

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

const provision = (...flags: readonly string[]): Given => ({ args: ["provision", "--user", "alice", ...flags] });
const rotate = (...flags: readonly string[]): Given => ({ args: ["rotate", "--user", "alice", ...flags] });
const FINISH: Given = { args: ["rotate", "--finish"] };
const RECONCILE: Given = { args: ["reconcile", "--fix"] };
const PURGE_REVOKE: Given = { args: ["purge", "--user", "alice", "--yes", "--revoke"] };

interface Step extends Given {
  /** 0 if missing; null if the scene is about a failure whose code another test checks. */
  readonly code?: number | null;
  readonly upstream?: Rule;
  readonly store?: (ports: Ports) => Ports;
  /** How much time passes before the command, in milliseconds. */
  readonly passes?: number;
  readonly before?: (server: OpenRouterServer) => void;
}

const after = (passes: number, given: Given): Step => ({ ...given, passes });

/** Every key has a guardrail and a place in an allow-list. */
function restrict(server: OpenRouterServer): void {
  const hashes = [...server.keys.keys()];
  const guardrail = server.addGuardrail();
  for (const hash of hashes) server.assignGuardrail(guardrail, hash);
  server.addCredential({ allowedKeys: hashes });
}

const LIMITED = provision("--limit", "10", "--limit-reset", "daily");

const SCENES: readonly (readonly [string, readonly Step[]])[] = [
  ["rotate with a grace, then finish", [provision(), rotate(), FINISH, after(11 * MINUTE, FINISH), FINISH]],
  ["rotate without a grace", [provision(), rotate("--grace", "0")]],
  ["rotate twice in one grace, then without", [provision(), rotate(), rotate(), rotate("--grace", "0"), RECONCILE]],
  ["reconcile removes what is due", [provision(), rotate(), RECONCILE, after(11 * MINUTE, RECONCILE), RECONCILE]],
  ["purge --revoke takes the retiring key", [provision(), rotate(), PURGE_REVOKE]],
  ["a limit comes back by finish", [LIMITED, rotate(), after(2 * DAY, FINISH)]],
  ["a limit comes back by rotate", [LIMITED, rotate(), after(2 * DAY, rotate())]],
  ["a limit comes back by reconcile", [LIMITED, rotate(), after(2 * DAY, RECONCILE)]],
  ["rotate with a limit of its own", [LIMITED, rotate(), rotate("--limit", "5")]],
  [
    "a new key that is refused",
    [provision(), { ...rotate(), upstream: on("GET /key", { status: 500 }), code: null }, RECONCILE],
  ],
  [
    "a key that keyctl did not make",
    [{ args: ["save", "--user", "alice", "--stdin"], input: KEY }, rotate("--include-foreign")],
  ],
  [
    "an old key that cannot be removed is removed by reconcile",
    [
      provision(),
      { ...rotate("--grace", "0"), upstream: always("DELETE /keys/{hash}", { status: 500 }), code: null },
      RECONCILE,
    ],
  ],
  ["restrictions go on to the new key", [provision(), { ...rotate(), before: restrict }, after(11 * MINUTE, FINISH)]],
  ["restrictions without a grace", [provision(), { ...rotate("--grace", "0"), before: restrict }, RECONCILE]],
  [
    "restrictions that cannot be attached",
    [
      provision(),
      {
        ...rotate(),
        before: restrict,
        upstream: always("POST /guardrails/{id}/assignments/keys", { status: 400 }),
        code: null,
      },
      RECONCILE,
    ],
  ],
  [
    "the new row is not answered, and is there",
    [provision(), { ...rotate(), store: losing("store.replace", "done") }, after(11 * MINUTE, FINISH)],
  ],
  [
    "the new row is not answered, and is not there",
    [provision(), { ...rotate(), store: losing("store.replace", "not done"), code: null }, rotate()],
  ],
  [
    "the entries of a rotation are not answered",
    [
      provision(),
      { ...rotate(), store: losing("store.insertEntry", "done", 5) },
      { ...rotate("--grace", "0"), store: losing("store.insertEntry", "not done", 1), code: null },
      RECONCILE,
    ],
  ],
  [
    "the restored limit is not answered",
    [
      LIMITED,
      rotate(),
      { ...after(2 * DAY, FINISH), store: losing("store.replace", "not done"), code: null },
      { ...FINISH, store: losing("store.replace", "done") },
    ],
  ],
];

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: new Date("2026-11-24T12:00:00Z") });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("what a rotation does to its ports is what the model does", () => {
  it.each(SCENES)("%s", async (_, steps) => {
    const server = await mockOpenRouter();
    const home = emptyHome();
    const recorded: UserTrace[] = [];
    for (const { upstream = () => "pass" as const, code = 0, store, passes = 0, before, ...given } of steps) {
      vi.setSystemTime(Date.now() + passes);
      server.behave(upstream);
      before?.(server);
      const { run, traces } = await recordedInProcess(home, server, given, store);
      if (code !== null) expect([given.args, run.code, run.stderr]).toEqual([given.args, code, run.stderr]);
      recorded.push(...traces);
    }
    expect(refusalsOf(recorded)).toEqual([]);
    expect(recorded.flatMap(({ trace }) => trace).length).toBeGreaterThan(steps.length);
  });
});
