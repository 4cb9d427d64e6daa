import type { Ports } from "../../../src/compose.ts";
import { inTurn, leftovers, reconcileUntilQuiet, syncProblems } from "./recovery-checks.ts";
import { emptyHome } from "../home/home.ts";
import { hashOf, keyEnding } from "../fixtures/keys.ts";
import { madeKeys, sqliteStage, stored } from "../openrouter/made-keys.ts";
import type { Stage } from "../openrouter/made-keys.ts";
import { openRouterServer } from "../openrouter/server.ts";
import type { Rule } from "../openrouter/faults.ts";
import { witnessed } from "../recording/port-calls.ts";
import { recordedInProcess } from "../recording/keyctl.ts";
import type { Given } from "../recording/keyctl.ts";
import { refusalsOf } from "../recording/runs.ts";
import { recordingProgram } from "../recording/process.ts";
import type { RecordedProcess, StartRecording } from "../recording/process.ts";

/** A command that is killed, and the state before it. */
export interface KillScene {
  /** Or what it is once `before` is done. */
  readonly given: Given | ((stage: Stage) => Promise<Given>);
  readonly before?: (stage: Stage) => Promise<void>;
  /** A person runs the same command again after the kill, before anything else. */
  readonly isRepeated?: true;
  /** Additional checks after everything is at rest again. */
  readonly problems?: (stage: Stage, given: Given) => Promise<readonly string[]>;
}

const AT_ONCE = 2;
/** Every scene is about the key of this user. */
export const USER = "alice";
const REPLACEMENT = keyEnding("91aa");
const IMPORTED = [
  { user: USER, key: REPLACEMENT },
  { user: "bob", key: keyEnding("47c0") },
];

export const KILL_SCENES = {
  sync: { given: { args: ["sync", "--user", USER] } },
  save: {
    given: { args: ["save", "--user", USER, "--stdin", "--replace", "--revoke"], input: REPLACEMENT },
    before: (stage) => happened(stage, ["sync", "--user", USER]),
  },
  purge: {
    given: { args: ["purge", "--user", USER, "--yes", "--revoke"] },
    before: (stage) => happened(stage, ["sync", "--user", USER]),
    problems: purgeProblems,
  },
  "purge --block": {
    given: { args: ["purge", "--user", USER, "--yes", "--revoke", "--block"] },
    before: (stage) => happened(stage, ["sync", "--user", USER]),
    problems: blockProblems,
  },
  unblock: {
    given: { args: ["unblock", "--user", USER] },
    before: blockedAfterDeath,
  },
  import: {
    given: { args: ["import", "--jsonl", "-"], input: IMPORTED.map((line) => JSON.stringify(line)).join("\n") },
    isRepeated: true,
    problems: importProblems,
  },
  reconcile: { given: { args: ["reconcile", "--fix"] }, before: leaveMuchToDo },
} as const satisfies Readonly<Record<string, KillScene>>;

/** Runs the command once to learn its moments, then once for each moment, and kills it there. */
export async function killEverywhere(
  scene: KillScene,
  isChosen: (moment: string) => boolean = () => true,
): Promise<{ readonly moments: readonly string[]; readonly kills: number; readonly problems: readonly string[] }> {
  const start = await recordingProgram();
  const whole = await runOf(scene, start, undefined, async ({ run }) => run);
  const points = numbered(whole.moments).filter(({ moment }) => isChosen(moment));
  const problems: string[] = whole.code === 0 ? refusalsOf(whole.traces).slice() : [`it fails: ${whole.stderr}`];
  const queue = points.values();
  const work = async () => {
    for (const { moment, nth } of queue) {
      const at = `${nth} ${moment}` as const;
      const found = await runOf(scene, start, at, (left) => problemsAfter(left, scene, moment));
      problems.push(...found.map((problem) => `killed at ${at}: ${problem}`));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return { moments: whole.moments, kills: points.length, problems };
}

/** Each moment with how often its name has come: two calls at the same time come in either order. */
function numbered(moments: readonly string[]): readonly { readonly moment: string; readonly nth: number }[] {
  const counts = new Map<string, number>();
  return moments.map((moment) => {
    const nth = (counts.get(moment) ?? 0) + 1;
    counts.set(moment, nth);
    return { moment, nth };
  });
}

interface Left {
  readonly run: RecordedProcess;
  readonly stage: Stage;
  readonly given: Given;
}

async function runOf<Result>(
  { given, before }: KillScene,
  start: StartRecording,
  at: `${number} ${string}` | undefined,
  look: (left: Left) => Promise<Result>,
): Promise<Result> {
  const home = emptyHome();
  const openRouter = await openRouterServer();
  try {
    const stage = sqliteStage(home, openRouter);
    await before?.(stage);
    const words = typeof given === "function" ? await given(stage) : given;
    const signalled = at === undefined ? {} : { signalled: { at, signal: "SIGKILL" } as const };
    return await look({ run: await start(home, openRouter, words, signalled).ended, stage, given: words });
  } finally {
    await openRouter.close();
  }
}

async function problemsAfter({ run, stage, given }: Left, scene: KillScene, moment: string) {
  if (run.signal !== "SIGKILL" || run.moments.at(-1) !== moment) return ["this moment was not reached"];
  const refusals = refusalsOf(run.traces);
  if (scene.isRepeated === true) {
    await stage.age();
    await happened(stage, given.args, given);
  }
  await reconcileUntilQuiet(stage);
  const atRest = [...(await leftovers(stage)), ...((await scene.problems?.(stage, given)) ?? [])];
  return [...refusals, ...atRest, ...(await syncProblems(stage, USER))];
}

/** After its revocation was recorded, the key must not come back and must not be active upstream. */
async function purgeProblems(stage: Stage): Promise<readonly string[]> {
  const { rows, retired } = await stored(stage);
  if (retired.size > 0) return madeKeys(stage.openRouter).length > 0 ? ["the purged key is alive"] : [];
  return rows.length !== 1 ? ["a purge that did not begin has removed the row"] : [];
}

/** After its revocation was recorded, the user is blocked and no key is active; before that, nothing has changed. */
async function blockProblems(stage: Stage): Promise<readonly string[]> {
  const { retired, blocked } = await stored(stage);
  const isBlocked = blocked.has(USER);
  if (retired.size > 0 !== isBlocked) return [`${USER} is ${isBlocked ? "" : "not "}blocked`];
  return purgeProblems(stage);
}

/** The import was repeated: every user has the key of the file. */
async function importProblems(stage: Stage): Promise<readonly string[]> {
  const { rows } = await stored(stage);
  return IMPORTED.flatMap(({ user, key }) =>
    rows.some((row) => row.user === user && row.hash === hashOf(key)) ? [] : [`${user} has not the imported key`],
  );
}

/** The purge with a block died before it changed the row: the unblock finishes it without its block. */
async function blockedAfterDeath(stage: Stage): Promise<void> {
  await happened(stage, ["sync", "--user", USER]);
  await happened(stage, ["purge", "--user", USER, "--yes", "--block"], { ports: dyingAt("store.replace") });
}

/** Runs a command of the past. */
export async function happened(
  { home, openRouter }: Stage,
  args: readonly string[],
  {
    rule = () => "pass",
    input,
    ports,
  }: { readonly rule?: Rule; readonly input?: string; readonly ports?: (ports: Ports) => Ports } = {},
): Promise<void> {
  openRouter.behave(rule);
  const given = input === undefined ? { args } : { args, input };
  await inTurn(() => recordedInProcess(home, openRouter, given, ports));
  openRouter.behave(() => "pass");
}

const disobeyed: Rule = ({ route }) => (route === "PATCH /keys/{hash}" ? { status: 403 } : "pass");
const lost: Rule = ({ route }) =>
  route === "POST /keys" ? "reset-after" : route === "GET /keys" ? { status: 403 } : "pass";

/** Leaves one user for each kind of interrupted work that reconcile finishes. */
async function leaveMuchToDo(stage: Stage): Promise<void> {
  const sync = (user: string, more?: Parameters<typeof happened>[2]) => happened(stage, ["sync", "--user", user], more);
  await sync(USER);
  await happened(stage, ["save", "--user", USER, "--stdin", "--replace", "--revoke"], {
    input: REPLACEMENT,
    rule: disobeyed,
  });
  await sync("bob");
  await happened(stage, ["purge", "--user", "bob", "--yes", "--revoke"], { rule: disobeyed });
  await sync("carol", { rule: lost });
  await sync("dave");
  await happened(stage, ["purge", "--user", "dave", "--yes", "--revoke"], {
    ports: dyingAt("store.remove"),
  });
  await sync("erin", { ports: dyingAt("store.insert") });
  await sync("frank", { ports: dyingAt("store.insertEntry", 2) });
  await stage.age();
}

/** The command dies at the nth call of this name. */
function dyingAt(name: string, nth = 1): (ports: Ports) => Ports {
  let calls = 0;
  return (ports) =>
    witnessed(ports, {
      begins(call) {
        if (call.name !== name) return;
        calls += 1;
        if (calls >= nth) throw new Error("it dies");
      },
      ends: () => {},
    });
}
