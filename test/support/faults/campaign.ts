import { parseKeyName } from "../../../src/core/model/key-name.ts";
import { randomInt } from "node:crypto";
import { leftovers, reconcileUntilQuiet, syncProblems } from "./recovery-checks.ts";
import { earlyDeaths, endedEarly, lostGuardrails, unfinishedRotations } from "./rotation-checks.ts";
import { keyEnding } from "../fixtures/keys.ts";
import { madeKeys } from "../openrouter/made-keys.ts";
import type { Stage } from "../openrouter/made-keys.ts";
import type { Fault, Rule } from "../openrouter/faults.ts";
import type { MockAccount } from "../openrouter/accounts.ts";
import type { Route } from "../openrouter/routes.ts";
import type { Given } from "../recording/keyctl.ts";
import { refusalsOf } from "../recording/runs.ts";
import type { UserTrace } from "../recording/runs.ts";
import type { RecordedProcess, StartRecording } from "../recording/process.ts";

/** The plan of a campaign. */
export interface Campaign {
  readonly processes: number;
  readonly verbs: readonly Verb[];
  readonly users: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Another account at OpenRouter; some of the processes have its management key. */
  readonly stranger?: Pick<MockAccount, "managementKey">;
  /** Routes without faults. */
  readonly faultless?: readonly Route[];
  /** How many processes run at the same time; default: 4. */
  readonly atOnce?: number;
}

export interface CampaignFigures {
  readonly processes: number;
  readonly kills: number;
  /** Processes that reported that their management key is of another account. */
  readonly strangers: number;
  readonly requests: number;
  readonly faults: number;
  /** Each trace is about one user, so one process may have several. */
  readonly traces: number;
  readonly accesses: number;
  readonly succeeded: number;
  readonly problems: readonly string[];
}

const VERBS = {
  sync: (user) => ({ args: ["sync", "--user", user] }),
  get: (user) => ({ args: ["get", "--user", user] }),
  provision: (user) => ({ args: ["provision", "--user", user] }),
  save: (user) => ({ args: ["save", "--user", user, "--stdin", "--replace"], input: savedKey() }),
  "save --revoke": (user) => ({
    args: ["save", "--user", user, "--stdin", "--replace", "--revoke"],
    input: savedKey(),
  }),
  purge: (user) => ({ args: ["purge", "--user", user, "--yes"] }),
  "purge --revoke": (user) => ({ args: ["purge", "--user", user, "--yes", "--revoke"] }),
  "purge --block": (user) => ({ args: ["purge", "--user", user, "--yes", "--block"] }),
  "purge --revoke --block": (user) => ({ args: ["purge", "--user", user, "--yes", "--revoke", "--block"] }),
  unblock: (user) => ({ args: ["unblock", "--user", user] }),
  rotate: (user) => ({ args: ["rotate", "--user", user] }),
  "rotate --grace 1s": (user) => ({ args: ["rotate", "--user", user, "--grace", "1s"] }),
  "rotate --grace 0": (user) => ({ args: ["rotate", "--user", user, "--grace", "0"] }),
  "rotate --limit full": (user) => ({ args: ["rotate", "--user", user, "--limit", "full", "--include-foreign"] }),
  finish: () => ({ args: ["rotate", "--finish"] }),
  "reconcile of one": (user) => ({ args: ["reconcile", "--fix", "--user", user] }),
  reconcile: () => ({ args: ["reconcile", "--fix"] }),
} as const satisfies Readonly<Record<string, (user: string) => Given>>;

export type Verb = keyof typeof VERBS;

/** The verbs that are safe on a store without atomic changes of a row. Most create a key, or make room for one. */
export const PLAIN_VERBS: readonly Verb[] = [
  ...(["sync", "sync", "sync", "sync", "sync", "get", "provision", "provision"] as const),
  ...(["purge", "purge", "purge", "purge --revoke", "purge --revoke", "purge --revoke"] as const),
  ...(["reconcile of one", "reconcile"] as const),
];
/** A blocked user ends most commands early: there are more unblocks than blocks. */
export const BLOCKING_VERBS: readonly Verb[] = [
  ...(["purge --block", "purge --revoke --block", "unblock", "unblock", "unblock", "unblock", "unblock"] as const),
];
const ROTATING_VERBS: readonly Verb[] = [
  ...(["rotate", "rotate", "rotate --grace 1s", "rotate --grace 1s", "rotate --limit full"] as const),
  ...(["rotate --grace 0", "finish", "finish"] as const),
];
export const ALL_VERBS: readonly Verb[] = [...PLAIN_VERBS, ...ROTATING_VERBS, "save", "save --revoke"];

const AT_ONCE = 4;
/** Probabilities, in percent. */
const KILLED = 50;
const SPOILED = 20;
const STRANGE = 50;
/** Most commands have fewer moments; a later kill never happens. Rotations have many. */
const MOST_MOMENTS: Readonly<Record<string, number>> = { rotate: 200, unblock: 10 };
const MOST_MOMENTS_OF_OTHERS = 40;
/** A process waits for another's operation no longer than this timeout; ageing makes operations stale even earlier. */
const TIMEOUT = ["--timeout", "6s"] as const;
const AGEING_MS = 500;
const LIMIT = 10;
const SPENT = 0.01;
/** Leaves room in an allow-list, which holds a hundred. */
const LISTED = 50;
const TERMS = {
  KEYCTL_MAX_PROVISIONS_PER_HOUR: "0",
  KEYCTL_PROVISION_LIMIT: String(LIMIT),
  KEYCTL_PROVISION_LIMIT_RESET: "monthly",
} as const;

const FAULTS: Readonly<Partial<Record<Route, readonly Fault[]>>> = {
  "POST /keys": [
    "reset-before",
    "reset-after",
    "late-apply",
    "twice",
    "html",
    { status: 503 },
    { status: 503, obeyed: true },
    { status: 429, headers: { "retry-after": "0" } },
    { status: 402 },
    { delayMs: 200 },
  ],
  "GET /workspaces": [{ status: 503 }, { status: 403 }, "reset-before"],
  "GET /keys": ["reset-before", { status: 503 }, { status: 403 }, { delayMs: 200 }],
  "PATCH /keys/{hash}": ["reset-after", "reset-before", { status: 503 }, { status: 403 }],
  "DELETE /keys/{hash}": ["reset-after", "reset-before", { status: 503 }, { status: 403 }],
  "GET /keys/{hash}": ["reset-before", { status: 503 }, { status: 403 }, { delayMs: 200 }],
  "GET /key": ["reset-before", { status: 401 }, { status: 503 }],
  "GET /guardrails/assignments/keys": ["reset-before", { status: 503 }],
  "POST /guardrails/{id}/assignments/keys": ["reset-after", "reset-before", { status: 503 }, { status: 403 }],
  "POST /guardrails/{id}/assignments/keys/remove": ["reset-after", "reset-before", { status: 503 }],
  "GET /byok": ["reset-before", { status: 503 }],
  "PATCH /byok/{id}": ["reset-after", "reset-before", { status: 503 }, { status: 403 }],
};

/**
 * Runs many processes at once, most of them with faults. Then waits until everything is at rest, and checks the result.
 */
export async function campaign(stage: Stage, start: StartRecording, plan: Campaign): Promise<CampaignFigures> {
  const runs: RecordedProcess[] = [];
  let faults = 0;
  const { openRouter } = stage;
  openRouter.behave(spoiling(plan.faultless ?? [], () => (faults += 1)));
  const stopAgeing = ageingAgainAndAgain(stage, administrator(stage));
  const queue = Array.from({ length: plan.processes }).keys();
  const work = async () => {
    for (const _ of queue) runs.push(await oneProcess(stage, start, plan));
  };
  await Promise.all(Array.from({ length: plan.atOnce ?? AT_ONCE }, work));
  await stopAgeing();
  const requests = openRouter.count();
  openRouter.behave(() => "pass");
  const traces = runs.flatMap((run) => run.traces);
  return {
    processes: runs.length,
    kills: runs.filter(({ signal }) => signal === "SIGKILL").length,
    strangers: runs.filter(({ code, stderr }) => code === 4 && stderr.includes("belongs to another OpenRouter account"))
      .length,
    requests,
    faults,
    traces: traces.length,
    accesses: traces.reduce((sum, { trace }) => sum + trace.length, 0),
    succeeded: runs.filter(({ code }) => code === 0).length,
    problems: [
      ...runs.filter(({ code }) => code === 1).map(({ stderr }) => `a bug: ${stderr}`),
      ...refusalsOf(traces),
      ...(await problemsAtRest(stage, plan, traces)),
    ],
  };
}

async function oneProcess({ home, openRouter }: Stage, start: StartRecording, plan: Campaign) {
  const { verbs, users, env = {}, stranger } = plan;
  const isStrange = stranger !== undefined && randomInt(100) < STRANGE;
  const { managementKey } = isStrange ? stranger : openRouter;
  const given: Given = VERBS[oneOf(verbs)](oneOf(users));
  const args = [...given.args, ...TIMEOUT];
  const isKilled = randomInt(100) < KILLED;
  const moments = MOST_MOMENTS[given.args[0] ?? ""] ?? MOST_MOMENTS_OF_OTHERS;
  const signalled = { at: 1 + randomInt(moments), signal: "SIGKILL" } as const;
  const options = { env: { ...env, ...TERMS }, ...(isKilled ? { signalled } : {}) };
  return start(home, { url: openRouter.url, managementKey }, { ...given, args }, options).ended;
}

async function problemsAtRest(
  stage: Stage,
  { users }: Campaign,
  traces: readonly UserTrace[],
): Promise<readonly string[]> {
  await reconcileUntilQuiet(stage);
  const problems = [
    ...(await leftovers(stage)),
    ...(await earlyDeaths(stage)),
    ...(await endedEarly(stage, traces)),
    ...(await lostGuardrails(stage)),
  ];
  await stage.passGraces();
  await reconcileUntilQuiet(stage);
  problems.push(...(await unfinishedRotations(stage, LIMIT)));
  for (const user of users) problems.push(...(await syncProblems(stage, user)));
  return problems;
}

function spoiling(faultless: readonly Route[], onFault: () => void): Rule {
  return ({ route }) => {
    if (randomInt(100) >= SPOILED) return "pass";
    const faults = FAULTS[route];
    if (faults === undefined || faultless.includes(route)) return "pass";
    onFault();
    return oneOf(faults);
  };
}

/**
 * Spends a little of each key, and gives every other first key of a user a guardrail and a place in a list when it appears. The
 * later keys may be a rotation's, which is about to give them the same.
 */
function administrator({ openRouter }: Stage): () => void {
  const guardrail = openRouter.addGuardrail();
  const list = openRouter.addCredential({ allowedKeys: [] });
  const seen = new Set<string>();
  return () => {
    for (const hash of madeKeys(openRouter)) {
      openRouter.spend(hash, SPENT);
      if (seen.has(hash)) continue;
      seen.add(hash);
      const isFirst = parseKeyName(openRouter.keys.get(hash)?.name ?? "")?.n === 1;
      if (!isFirst || randomInt(2) === 0 || openRouter.guardrails().has(hash)) continue;
      openRouter.assignGuardrail(guardrail, hash);
      list.allowedKeys = [...(list.allowedKeys ?? []), hash].slice(-LISTED);
    }
  };
}

/** Makes even the operations of running processes stale: safety must never depend on time. */
function ageingAgainAndAgain({ age }: Stage, also: () => void): () => Promise<void> {
  let last: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    also();
    last = last.then(age).catch(() => {
      // The store does not exist yet, or it is busy.
    });
  }, AGEING_MS);
  return async () => {
    clearInterval(timer);
    await last;
  };
}

function savedKey(): string {
  return keyEnding(oneOf(["91aa", "47c0"]));
}

function oneOf<One>(many: readonly One[]): One {
  const one = many[randomInt(many.length)];
  if (one === undefined) throw new Error("there is nothing to choose from");
  return one;
}
