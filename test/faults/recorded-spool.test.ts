import { expect, it } from "vitest";
import type { Ports } from "../../src/compose.ts";
import { KeyctlError } from "../../src/core/model/errors.ts";
import { leftovers, reconcileUntilQuiet } from "../support/faults/recovery-checks.ts";
import { emptyHome } from "../support/home/home.ts";
import { madeKeys, sqliteStage, stored } from "../support/openrouter/made-keys.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import { witnessed } from "../support/recording/port-calls.ts";
import { recordedInProcess } from "../support/recording/keyctl.ts";
import type { Given } from "../support/recording/keyctl.ts";
import { refusalsOf } from "../support/recording/runs.ts";

const SYNC: Given = { args: ["sync", "--user", "alice"] };
const GET: Given = { args: ["get", "--user", "alice"] };
const PURGE: Given = { args: ["purge", "--user", "alice", "--yes", "--revoke"] };
const SAVE: Given = { args: ["save", "--user", "alice", "--stdin"], input: `sk-or-v1-${"91aa".repeat(16)}` };
const RECONCILE: Given = { args: ["reconcile", "--fix"] };
const BLOCK: Given = { args: ["purge", "--user", "alice", "--yes", "--block"], call: (keys) => keys.block("alice") };
const AWAY = 7;
const BLOCKED = 8;

/** The store is away from the first insert of a row on. */
type Away = "the insert was never sent" | "the insert may have been sent" | "the insert has landed";

const SCENES: readonly (readonly [Away, readonly (readonly [Given, number])[]])[] = [
  ["the insert was never sent", [[SYNC, 0]]],
  ["the insert was never sent", [[GET, 0]]],
  ["the insert was never sent", [[RECONCILE, 0]]],
  ["the insert was never sent", [[PURGE, 0]]],
  ["the insert was never sent", [[SAVE, 8]]],
  ["the insert may have been sent", [[SYNC, 0]]],
  [
    "the insert may have been sent",
    [
      [RECONCILE, 0],
      [SYNC, 0],
    ],
  ],
  ["the insert has landed", [[SYNC, 0]]],
  ["the insert has landed", [[GET, 0]]],
];

/** Each case takes as long as the attempts to reach a store that is away. */
it.each(SCENES)("a key is spooled when %s, and the next command brings it in: %j", async (how, commands) => {
  const stage = sqliteStage(emptyHome(), await mockOpenRouter());
  const { home, openRouter } = stage;
  const spooling = await recordedInProcess(home, openRouter, SYNC, awayFromInsert(how));
  expect([spooling.run.code, spooling.run.stderr]).toEqual([AWAY, expect.stringContaining("it is safe")]);
  const recorded = [...spooling.traces];
  for (const [given, code] of commands) {
    const { run, traces } = await recordedInProcess(home, openRouter, given);
    expect([given.args, run.code, run.stderr]).toEqual([given.args, code, run.stderr]);
    recorded.push(...traces);
  }
  expect(refusalsOf(recorded)).toEqual([]);
  await reconcileUntilQuiet(stage);
  expect(await leftovers(stage)).toEqual([]);
  expect(madeKeys(openRouter).length).toBe((await stored(stage)).rows.length);
});

it.each(["the insert was never sent", "the insert may have been sent"] as const)(
  "a key that was spooled when %s is not stored for a user who is blocked since, and is deleted",
  async (how) => {
    const stage = sqliteStage(emptyHome(), await mockOpenRouter());
    const { home, openRouter } = stage;
    const recorded = [...(await recordedInProcess(home, openRouter, SYNC, awayFromInsert(how))).traces];
    // From another machine, which has no spooled key.
    const block = { ...BLOCK, env: { XDG_STATE_HOME: `${home.folder}/of another machine` } };
    for (const [given, code] of [
      [block, 0],
      [SYNC, BLOCKED],
      [RECONCILE, 0],
    ] as const) {
      const { run, traces } = await recordedInProcess(home, openRouter, given);
      expect([given.args, run.code, run.stderr]).toEqual([given.args, code, run.stderr]);
      recorded.push(...traces);
    }
    expect(refusalsOf(recorded)).toEqual([]);
    expect(await leftovers(stage)).toEqual([]);
    expect(madeKeys(openRouter)).toEqual([]);
  },
);

const gone = (mayHaveHappened: boolean) =>
  new KeyctlError("STORE_UNAVAILABLE", "the connection was closed", { mayHaveHappened });

function awayFromInsert(how: Away): (ports: Ports) => Ports {
  let isAway = false;
  return (ports) =>
    witnessed(ports, {
      begins({ name }) {
        if (!name.startsWith("store.") || name === "store.close") return;
        if (isAway) throw gone(false);
        if (name !== "store.insert") return;
        isAway = how !== "the insert has landed";
        if (isAway) throw gone(how === "the insert may have been sent");
      },
      ends({ name }) {
        if (name !== "store.insert" || how !== "the insert has landed") return;
        isAway = true;
        throw gone(true);
      },
    });
}
