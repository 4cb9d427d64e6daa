import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { inTurn, leftovers, reconcileUntilQuiet } from "../support/faults/recovery-checks.ts";
import { emptyHome } from "../support/home/home.ts";
import { documentsOf, inProcess } from "../support/programs/in-process.ts";
import { madeKeys, sqliteStage, stored } from "../support/openrouter/made-keys.ts";
import { always } from "../support/openrouter/faults.ts";
import type { Rule } from "../support/openrouter/faults.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import { environmentFor } from "../support/recording/keyctl.ts";
import { refusalsOf } from "../support/recording/runs.ts";
import { recordingProgram } from "../support/recording/process.ts";
import type { RecordingProcess } from "../support/recording/process.ts";

const CROWD = 100;
const AT_ONCE = 20;
const SYNC = { args: ["sync", "--user", "alice", "--json"] };
const MADE = "after openRouter.open.withManagementKey.create";

it(`${CROWD} processes that sync one user at the same time hand out one key, and one key is alive`, async () => {
  const stage = sqliteStage(emptyHome(), await mockOpenRouter({ latencyMs: 50 }));
  const start = await recordingProgram();
  const hashes = new Set<unknown>();
  const problems: string[] = [];
  const queue = Array.from({ length: CROWD }).keys();
  const work = async () => {
    for (const _ of queue) {
      const run = await start(stage.home, stage.openRouter, SYNC).ended;
      problems.push(...refusalsOf(run.traces), ...(run.code === 0 ? [] : [run.stderr]));
      hashes.add(documentsOf(run).at(-1)?.["key_hash"]);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  expect(problems).toEqual([]);
  console.log(`${CROWD} processes, ${stage.openRouter.count("POST /keys")} keys made, ${hashes.size} handed out`);
  expect([...hashes]).toEqual(madeKeys(stage.openRouter));
  expect(await leftovers(stage)).toEqual([]);
});

/** Whether the winner finds the key of the stopped process: it searches by the key's name, which may fail. */
const LOOKS: readonly (readonly [string, Rule])[] = [
  ["the winner has deleted", () => "pass"],
  ["the winner could not find", always("GET /keys", { status: 403 })],
];

/** Only Linux, which shows the state of a process. */
it.runIf(process.platform === "linux").each(LOOKS)(
  "who stood still past its time returns the winner's key, and its own, which %s, is gone",
  async (_, rule) => {
    const stage = sqliteStage(emptyHome(), await mockOpenRouter());
    const { home, openRouter } = stage;
    const start = await recordingProgram();
    const whole = await start(emptyHome(), openRouter, SYNC).ended;
    const at = whole.moments.indexOf(MADE) + 1;
    for (const hash of madeKeys(openRouter)) openRouter.removeKey(hash);

    const owner = start(home, openRouter, SYNC, { signalled: { at, signal: "SIGSTOP" } });
    await standingStill(owner);
    const [own] = madeKeys(openRouter);
    await stage.age();
    openRouter.behave(rule);
    const winner = await inTurn(() => inProcess(home, SYNC.args, { env: environmentFor(openRouter) }));
    expect(winner.code).toBe(0);
    openRouter.behave(() => "pass");
    process.kill(owner.pid ?? 0, "SIGCONT");
    const late = await owner.ended;

    const [row] = (await stored(stage)).rows;
    expect([late.code, late.stderr, documentsOf(late).at(-1)?.["key_hash"]]).toEqual([0, late.stderr, row?.hash]);
    expect(documentsOf(winner).at(-1)?.["key_hash"]).toBe(row?.hash);
    expect(madeKeys(openRouter)).toEqual([row?.hash]);
    expect(own).not.toBe(row?.hash);
    expect(refusalsOf(late.traces)).toEqual([]);
    await reconcileUntilQuiet(stage);
    expect(await leftovers(stage)).toEqual([]);
  },
);

async function standingStill({ pid, moments }: RecordingProcess): Promise<void> {
  const isStopped = () => /^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  while (moments().at(-1) !== MADE || !isStopped()) await sleep(20);
}
