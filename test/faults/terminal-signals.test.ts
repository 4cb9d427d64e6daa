import { randomInt } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { leftovers, reconcileUntilQuiet } from "../support/faults/recovery-checks.ts";
import { emptyHome } from "../support/home/home.ts";
import { KEY } from "../support/fixtures/keys.ts";
import { madeKeys, sqliteStage, stored } from "../support/openrouter/made-keys.ts";
import type { Stage } from "../support/openrouter/made-keys.ts";
import { openRouterServer } from "../support/openrouter/server.ts";
import { environmentFor } from "../support/recording/keyctl.ts";
import { CTRL_C, ENTER, terminalSession } from "../support/programs/terminal-session.ts";
import type { Ending, TerminalSession } from "../support/programs/terminal-session.ts";

const SIGNALS = 1_000;
/** The number of runs at the same time, each in its own home. */
const LANES = 6;
/** The number of runs in one home, one after the other. */
const RUNS = 25;
const LATENCY_MS = 15;
/** In one of this many homes a second signal follows. It may leave a key, which reconcile then finds. */
const IMPATIENT_SHARE = 8;
const USERS = 12;

/** The exit codes of a run that finished its work, or whose question was answered with no. */
const LATE: readonly number[] = [0, 2];
const HANG_UP = "the end of the terminal";

interface Way {
  readonly name: string;
  readonly code: 130 | 143;
  readonly act: (tool: TerminalSession) => unknown;
}

const WAYS: readonly Way[] = [
  { name: "Ctrl-C", code: 130, act: (tool) => tool.type(CTRL_C) },
  { name: "SIGINT", code: 130, act: (tool) => tool.send("SIGINT") },
  { name: "SIGTERM", code: 143, act: (tool) => tool.send("SIGTERM") },
  { name: "SIGTERM and SIGHUP", code: 143, act: (tool) => [tool.send("SIGTERM"), tool.send("SIGHUP")] },
  { name: "SIGTERM twice", code: 143, act: (tool) => [tool.send("SIGTERM"), tool.send("SIGTERM")] },
  { name: HANG_UP, code: 143, act: (tool) => tool.hangUp() },
];

interface Scene {
  readonly args: (user: string) => readonly string[];
  /** The place of its documents, if it writes any. */
  readonly documents?: "stdout" | "--output";
  /** The question on the terminal, and the typed answer. */
  readonly answer?: { readonly to: string; readonly type: string };
}

/** For all users in the file, without a question. */
const CREATING = ["--users-file", "users", "--provision", "--max-keys", "100000"];
const SCENES: readonly Scene[] = [
  { args: () => ["sync", ...CREATING, "--json"], documents: "stdout" },
  { args: () => ["sync", ...CREATING, "--output", "out"], documents: "--output" },
  { args: () => ["sync", ...CREATING] },
  { args: (user) => ["sync", "--user", user, "--json"], documents: "stdout" },
  { args: (user) => ["provision", "--user", user, "--json"], documents: "stdout" },
  { args: () => ["get", "--all", "--stored", "--reveal", "--output", "out"], documents: "--output" },
  { args: () => ["rekey", "--keep-key", "--json"], documents: "stdout" },
  { args: () => ["reconcile", "--json"], documents: "stdout" },
  { args: (user) => ["save", "--user", user], answer: { to: "(not shown)", type: KEY + ENTER } },
  { args: (user) => ["save", "--user", user] },
  { args: () => ["purge", "--user", "known"], answer: { to: "(y/N)", type: `n${ENTER}` } },
  { args: () => ["purge", "--user", "known"] },
];

interface Figures {
  signals: number;
  /** The signals before the tool listened for them. */
  early: number;
  /** The signals so late that the run ended as without a signal. */
  late: number;
  runs: number;
  readonly problems: string[];
}

it(`loses no key and leaves no draft in ${SIGNALS} signals on terminals`, { timeout: 900_000 }, async () => {
  const figures: Figures = { signals: 0, early: 0, late: 0, runs: 0, problems: [] };
  let homes = 0;
  const lane = async () => {
    while (figures.signals < SIGNALS) await oneHome(figures, homes++ % IMPATIENT_SHARE === IMPATIENT_SHARE - 1);
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  const { signals, early, late, runs } = figures;
  console.log(`${signals} signals in ${runs} runs: ${early} before the tool listened, ${late} after it was done`);
  expect(figures.problems).toEqual([]);
  expect(signals).toBeGreaterThanOrEqual(SIGNALS);
  // Most signals must have hit a working run.
  expect(early + late).toBeLessThan(signals / 2);
});

async function oneHome(figures: Figures, isImpatient: boolean): Promise<void> {
  const home = emptyHome();
  const openRouter = await openRouterServer({ latencyMs: LATENCY_MS });
  const stage = sqliteStage(home, openRouter);
  try {
    const known = await terminalSession(home, ["sync", "--user", "known"], { env: environmentOf(stage) }).ended;
    if (known.code !== 0) throw new Error(`what was given did not work: ${known.screen}`);
    for (let run = 0; run < RUNS && figures.signals < SIGNALS; run += 1) await oneRun(stage, figures, isImpatient);
    await reconcileUntilQuiet(stage);
    figures.problems.push(...(await leftovers(stage)).map((problem) => `in the end: ${problem}`));
  } finally {
    await openRouter.close();
    rmSync(home.folder, { recursive: true, force: true });
  }
}

async function oneRun(stage: Stage, figures: Figures, isImpatient: boolean): Promise<void> {
  const { home, openRouter } = stage;
  const scene = oneOf(SCENES);
  const way = oneOf(WAYS);
  figures.runs += 1;
  const users = Array.from({ length: USERS }, (_, index) => `user-${figures.runs}-${index}`);
  writeFileSync(join(home.work, "users"), users.join("\n"));
  const out = join(home.work, "out");
  rmSync(out, { force: true });
  const args = scene.args(`user-${figures.runs}`);
  const env = environmentOf(stage);
  const tool = terminalSession(home, args, scene.documents === "stdout" ? { env, stdout: out } : { env });
  if (scene.answer !== undefined && randomInt(2) === 0) answer(tool, scene.answer);
  await tool.started;
  // All requests of the previous run have arrived, and this run has sent none yet.
  const requests = openRouter.requests.length;
  const isRunning = await runsFor(tool, randomInt(longestOf(scene)));
  if (isRunning) {
    figures.signals += 1;
    await way.act(tool);
    if (isImpatient && (await runsFor(tool, 100 + randomInt(100)))) await tool.send("SIGTERM");
  }
  const end = await endOf(tool, out, () => openRouter.requests.length > requests);
  const found = [
    ...(isRunning ? problemsOf(end, way, isImpatient, figures) : []),
    ...draftsBelow(home.folder).map((draft) => `a draft is left: ${draft}`),
    ...(isImpatient ? [] : await lostKeys(stage)),
  ];
  figures.problems.push(...found.map((problem) => `${args.join(" ")}, ${way.name}: ${problem}; ${end.screen}`));
}

interface End extends Ending {
  /** The exit code in its last document. */
  readonly said: number | undefined;
  /** Whether it has done something visible. */
  readonly hasBegun: boolean;
}

async function endOf(tool: TerminalSession, out: string, hasAsked: () => boolean): Promise<End> {
  const ending = await tool.ended;
  const last = documentsIn(out).at(-1);
  const said = last === undefined ? undefined : (last.error?.exit_code ?? 0);
  return { ...ending, said, hasBegun: last !== undefined || hasAsked() || !/^(\^C)?$/.test(ending.screen) };
}

/** Resolves to false if the tool ends before. */
async function runsFor(tool: TerminalSession, milliseconds: number): Promise<boolean> {
  return (await Promise.race([sleep(milliseconds, true), tool.ended])) === true;
}

/** Slightly longer, in milliseconds, than the run takes beside the other lanes. */
function longestOf({ documents }: Scene): number {
  return documents === undefined ? 900 : 1100;
}

function answer(tool: TerminalSession, { to, type }: { readonly to: string; readonly type: string }): void {
  tool.shows(to).then(
    () => tool.type(type),
    () => {}, // The tool ended before its question.
  );
}

function problemsOf(end: End, way: Way, isImpatient: boolean, figures: Figures): readonly string[] {
  const { code, signal, said, hasBegun, echoes, showsCursor } = end;
  const isEarly = signal !== null && !hasBegun;
  const isLate = code !== null && code !== way.code && (said === undefined ? LATE.includes(code) : code === said);
  if (isEarly) figures.early += 1;
  if (isLate) figures.late += 1;
  const isRight = isEarly || isLate || code === way.code || (isImpatient && (signal === "SIGTERM" || code === 143));
  return [
    ...(isRight ? [] : [`ended with ${code ?? signal}`]),
    ...(said === undefined || code === null || said === code ? [] : [`ended with ${code}, and said ${said}`]),
    ...(echoes === true || (echoes === null && way.name === HANG_UP) ? [] : ["the terminal does not echo"]),
    ...(showsCursor ? [] : ["the cursor is hidden"]),
  ];
}

interface Document {
  readonly error: { readonly exit_code: number } | null;
}

function documentsIn(file: string): readonly Document[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, "utf8").split("\n").slice(0, -1);
  return lines.map((line) => JSON.parse(line) as Document);
}

function draftsBelow(folder: string): readonly string[] {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return files.filter((name) => /(^|\/)\.keyctl-output-|\.[0-9a-f]{12}$/.test(name));
}

/** Active keys without a row, and rows whose key is missing upstream. */
async function lostKeys(stage: Stage): Promise<readonly string[]> {
  const { rows, kept } = await stored(stage);
  const made = madeKeys(stage.openRouter);
  const known = new Set([...kept, ...rows.map(({ hash }) => hash)]);
  const alive = new Set(made);
  return [
    ...made.filter((hash) => !known.has(hash)).map((hash) => `a key is lost: ${hash}`),
    ...rows.filter(({ generation, hash }) => generation > 0 && !alive.has(hash)).map(({ user }) => `${user} has none`),
  ];
}

function environmentOf({ openRouter }: Stage): Readonly<Record<string, string>> {
  return { ...environmentFor(openRouter), KEYCTL_MAX_PROVISIONS_PER_HOUR: "0" };
}

function oneOf<Item>(items: readonly Item[]): Item {
  const item = items[randomInt(items.length)];
  if (item === undefined) throw new Error("there is none");
  return item;
}
