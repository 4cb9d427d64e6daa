import { parseKeyName } from "../../../src/core/model/key-name.ts";
import { randomInt } from "node:crypto";
import { leftovers, reconcileUntilQuiet, syncProblems } from "./recovery-checks.ts";
import { spoiling } from "./campaign-faults.ts";
import { RENEWING_VERBS, savedKey, VERBS } from "./campaign-verbs.ts";
import type { Leak, Verb } from "./campaign-verbs.ts";
import { oneOf } from "./chance.ts";
import { isAccepted, kill } from "./deaths.ts";
import type { Death } from "./deaths.ts";
import { leaksOf, lostKeys, renewAtRest, uncontained, wrongMarks, wrongRenewals } from "./renewal-checks.ts";
import type { Containment } from "./renewal-checks.ts";
import { earlyDeaths, endedEarly, lostGuardrails, unfinishedRotations } from "./rotation-checks.ts";
import { hashOf } from "../fixtures/keys.ts";
import { madeKeys, stored } from "../openrouter/made-keys.ts";
import type { Stage } from "../openrouter/made-keys.ts";
import type { MockAccount } from "../openrouter/accounts.ts";
import type { Route } from "../openrouter/routes.ts";
import type { OpenRouterServer } from "../openrouter/server.ts";
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
  /** The texts of the keys that were created, by their hashes. */
  readonly texts?: ReadonlyMap<string, string>;
}

/** What has happened so far. */
interface Events {
  readonly deaths: Map<string, { readonly death: Death | null; readonly at: number }>;
  readonly containments: Containment[];
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
  /** Keys that a person has taken out of use at OpenRouter. */
  readonly deaths: number;
  readonly renewals: number;
  /** The runs of `leaked` that say that their keys are contained. */
  readonly contained: number;
  readonly problems: readonly string[];
}

const AT_ONCE = 4;
/** Probabilities, in percent. */
const KILLED = 50;
const STRANGE = 50;
/** Most commands have fewer moments; a later kill never happens. Rotations have many. */
const MOST_MOMENTS: Readonly<Record<string, number>> = { rotate: 200, renew: 200, leaked: 200, exec: 60, unblock: 10 };
const MOST_MOMENTS_OF_OTHERS = 40;
/** A process waits for another's operation no longer than this timeout; ageing makes operations stale even earlier. */
const TIMEOUT = ["--timeout", "6s"] as const;
const AGEING_MS = 500;
const LIMIT = 10;
const SPENT = 0.01;
/** Of the moments at which a key may die by a person's hand, in percent. */
const FATAL = 90;
const DEATHS: readonly Death[] = ["deleted", "deleted", "expired", "disabled"];
/** A key that dies before its command has stored it delays that command. */
const YOUNG_MS = 2_000;
const MOST_LEAKS = 3;
/** Leaves room in an allow-list, which holds a hundred. */
const LISTED = 50;
const TERMS = {
  KEYCTL_MAX_PROVISIONS_PER_HOUR: "0",
  KEYCTL_PROVISION_LIMIT: String(LIMIT),
  KEYCTL_PROVISION_LIMIT_RESET: "monthly",
} as const;

/**
 * Runs many processes at once, most of them with faults. Then waits until everything is at rest, and checks the result.
 */
export async function campaign(stage: Stage, start: StartRecording, plan: Campaign): Promise<CampaignFigures> {
  const runs: RecordedProcess[] = [];
  const events: Events = { deaths: new Map(), containments: [] };
  let faults = 0;
  const { openRouter } = stage;
  openRouter.behave(spoiling(plan.faultless ?? [], () => (faults += 1)));
  const administers = administrator(stage, hasRenewals(plan) ? events : undefined);
  const stopAgeing = ageingAgainAndAgain(stage, administers);
  const queue = Array.from({ length: plan.processes }).keys();
  const work = async () => {
    for (const _ of queue) runs.push(await oneProcess(stage, start, plan, events));
  };
  await Promise.all(Array.from({ length: plan.atOnce ?? AT_ONCE }, work));
  await stopAgeing();
  const requests = openRouter.count();
  openRouter.behave(() => "pass");
  const traces = runs.flatMap((run) => run.traces);
  const deaths = [...events.deaths.values()].filter(({ death }) => death !== null).length;
  const problems = [
    ...runs.filter(({ code }) => code === 1).map(({ stderr }) => `a bug: ${stderr}`),
    ...refusalsOf(traces),
    ...(await problemsAtRest(stage, plan, traces, events)),
  ];
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
    deaths,
    renewals: (await stored(stage)).events.filter(({ event }) => event === "renewed").length,
    contained: events.containments.filter(({ code }) => code === 0).length,
    problems,
  };
}

function hasRenewals({ verbs }: Campaign): boolean {
  return verbs.some((verb) => RENEWING_VERBS.includes(verb));
}

async function oneProcess(stage: Stage, start: StartRecording, plan: Campaign, events: Events) {
  const { home, openRouter } = stage;
  const { verbs, users, env = {}, stranger } = plan;
  const isStrange = stranger !== undefined && randomInt(100) < STRANGE;
  const { managementKey } = isStrange ? stranger : openRouter;
  const leaks = leaksAmong(stage, plan);
  const verb = oneOf(verbs);
  const given: Given = VERBS[verb](oneOf(users), leaks);
  const [name = "", ...words] = given.args;
  const args = [name, ...TIMEOUT, ...words];
  const isKilled = randomInt(100) < KILLED;
  const moments = MOST_MOMENTS[name] ?? MOST_MOMENTS_OF_OTHERS;
  const signalled = { at: 1 + randomInt(moments), signal: "SIGKILL" } as const;
  const options = { env: { ...env, ...TERMS }, ...(isKilled ? { signalled } : {}) };
  if (RENEWING_VERBS.includes(verb)) await ageKeys(stage);
  const beganAt = Date.now();
  const hashes =
    name === "leaked" ? (verb === "leaked --hash" ? leaks.slice(0, 1) : leaks).map(({ hash }) => hash) : [];
  for (const hash of hashes) {
    if (!events.deaths.has(hash)) events.deaths.set(hash, { death: null, at: beganAt });
  }
  const run = await start(home, { url: openRouter.url, managementKey }, { ...given, args }, options).ended;
  if (name === "leaked") {
    const alive = hashes.filter((hash) => isAccepted(openRouter, hash));
    events.containments.push({ hashes, code: run.code, beganAt, endedAt: Date.now(), alive });
  }
  return run;
}

/** Some keys of the account: in use, in their grace, disabled or of nobody. */
function leaksAmong({ openRouter }: Stage, { texts = new Map() }: Campaign): readonly Leak[] {
  const hashes = madeKeys(openRouter);
  if (hashes.length === 0) return [{ hash: hashOf(savedKey()), text: undefined }];
  return Array.from({ length: 1 + randomInt(MOST_LEAKS) }, () => {
    const hash = oneOf(hashes);
    return { hash, text: texts.get(hash) };
  });
}

async function ageKeys(stage: Stage): Promise<void> {
  try {
    await stage.ageKeys();
  } catch {
    // The store does not exist yet, or it is busy.
  }
}

async function problemsAtRest(
  stage: Stage,
  { users }: Campaign,
  traces: readonly UserTrace[],
  { deaths, containments }: Events,
): Promise<readonly string[]> {
  await reconcileUntilQuiet(stage);
  const problems = [
    ...(await lostKeys(stage, deaths)),
    ...(await earlyDeaths(stage, deaths)),
    ...(await endedEarly(stage, traces, await leaksOf(stage, containments))),
    ...(await renewAtRest(stage)),
    ...(await leftovers(stage)),
    ...(await lostGuardrails(stage)),
    ...(await wrongRenewals(stage, deaths)),
    ...(await wrongMarks(stage)),
    ...(await uncontained(stage, containments)),
  ];
  await stage.passGraces();
  await reconcileUntilQuiet(stage);
  problems.push(...(await unfinishedRotations(stage, LIMIT)));
  for (const user of users) problems.push(...(await syncProblems(stage, user)));
  return problems;
}

/**
 * Spends a little of each key, and gives every other first key of a user a guardrail and a place in a list when it appears. The
 * later keys may be a rotation's, which is about to give them the same. With `events`, now and then a key dies.
 */
function administrator({ openRouter }: Stage, events: Events | undefined): () => void {
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
    if (events !== undefined && randomInt(100) < FATAL) killOne(openRouter, events);
  };
}

function killOne(openRouter: OpenRouterServer, { deaths }: Events): void {
  const hashes = madeKeys(openRouter).filter((hash) => {
    const bornAt = Date.parse(openRouter.keys.get(hash)?.createdAt ?? "");
    return isAccepted(openRouter, hash) && openRouter.clock.now() - bornAt > YOUNG_MS;
  });
  if (hashes.length === 0) return;
  const [hash, death] = [oneOf(hashes), oneOf(DEATHS)];
  deaths.set(hash, { death, at: Date.now() });
  kill(openRouter, hash, death);
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
