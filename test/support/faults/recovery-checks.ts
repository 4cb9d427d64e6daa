import { documentsOf, errorOf, inProcess } from "../programs/in-process.ts";
import { isAccepted } from "./deaths.ts";
import { madeKeys, stored } from "../openrouter/made-keys.ts";
import type { Stage } from "../openrouter/made-keys.ts";
import { environmentFor } from "../recording/keyctl.ts";

const MOST_ROUNDS = 5;

let last: Promise<unknown> = Promise.resolve();

/** Runs one piece of work after the other, because tools in this process share its working directory. */
export function inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
  const result = last.then(work);
  last = result.catch(() => {});
  return result;
}

/** Repeats `reconcile --fix` for all users until nothing is left to fix, after all operations were made stale. */
export async function reconcileUntilQuiet(stage: Stage): Promise<void> {
  await stage.age();
  for (let round = 0; round < MOST_ROUNDS; round += 1) {
    const { tasks, due } = await tasksOf(stage, []);
    // What rotations have left to do is due anyhow, and is not confirmed.
    await tasksOf(stage, ["--fix", "--confirm", String(tasks - due)]);
    if (tasks === 0) return;
  }
  throw new Error(`reconcile finds something to do after ${MOST_ROUNDS} rounds`);
}

async function tasksOf(
  { home, openRouter }: Stage,
  more: readonly string[],
): Promise<{ readonly tasks: number; readonly due: number }> {
  const run = await inTurn(() =>
    inProcess(home, ["reconcile", "--json", ...more], { env: environmentFor(openRouter) }),
  );
  const summary = documentsOf(run).at(-1);
  const counts = { tasks: Number(summary?.["to_fix"]), due: Number(summary?.["due"]) };
  // A request that the killed process had sent may take effect between plan and fix.
  if (errorOf(run)?.code === "COUNT_CHANGED") return counts;
  if (summary?.["complete"] !== true) throw new Error(`reconcile did not come to its end: ${run.stdout}${run.stderr}`);
  return counts;
}

/**
 * Finds what must not remain when everything is at rest: keys without a row, rows without their key, unsettled rows.
 */
export async function leftovers(stage: Stage): Promise<readonly string[]> {
  const { rows, kept } = await stored(stage);
  const made = new Set(madeKeys(stage.openRouter).filter((hash) => isAccepted(stage.openRouter, hash)));
  const known = new Set([...kept, ...rows.map(({ hash }) => hash)]);
  return [
    ...[...made].filter((hash) => !known.has(hash)).map((hash) => `an unrecorded key is alive: ${hash}`),
    ...rows
      .filter(({ generation, hash }) => generation > 0 && !made.has(hash))
      .map(({ user, hash }) => `${user} has a key that is gone: ${hash}`),
    ...rows.filter(({ settled }) => !settled).map(({ user }) => `the row of ${user} is not settled`),
  ];
}

/**
 * The problems of a fresh sync of the user: a failure, a key that is not active, or leftovers. A blocked user gets no key, and
 * one after an unblock.
 */
export async function syncProblems(stage: Stage, user: string): Promise<readonly string[]> {
  const { home, openRouter } = stage;
  const given = (verb: string) =>
    inTurn(() => inProcess(home, [verb, "--user", user], { env: environmentFor(openRouter) }));
  const isBlocked = (await stored(stage)).blocked.has(user);
  if (isBlocked) {
    const refused = await given("sync");
    if (refused.code !== 8) return [`a sync of ${user}, who is blocked, ends with ${refused.code}: ${refused.stderr}`];
    await given("unblock");
  }
  const run = await given("sync");
  if (run.code !== 0) return [`a fresh sync of ${user} ends with ${run.code}: ${run.stderr}`];
  const row = (await stored(stage)).rows.find((one) => one.user === user);
  if (row === undefined) return [`a fresh sync of ${user} leaves no row`];
  const isAlive = row.generation === 0 || isAccepted(openRouter, row.hash);
  return [...(isAlive ? [] : [`${user} has a dead key`]), ...(await leftovers(stage))];
}
