import { expect, it } from "vitest";
import { leftovers, reconcileUntilQuiet } from "../support/faults/recovery-checks.ts";
import { earlyDeaths } from "../support/faults/rotation-checks.ts";
import type { Home } from "../support/home/home.ts";
import { databaseOfTest, describeWithMongodb } from "../support/mongodb/of-test.ts";
import { homeOn } from "../support/mongodb/run.ts";
import { tcpProxy } from "../support/mongodb/tcp-proxy.ts";
import type { Action } from "../support/mongodb/tcp-proxy.ts";
import { madeKeys, mongoStage, stored } from "../support/openrouter/made-keys.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import { errorOf, inProcess } from "../support/programs/in-process.ts";
import { environmentFor } from "../support/recording/keyctl.ts";

/** LANDED: the change reaches the server, but its answer is lost. LOST: the change never reaches the server. */
const LANDED: readonly Action[] = ["cut-answer", "half-close", "lose-answer"];
const LOST: readonly Action[] = ["cut", "swallow"];
/** RECORD OPERATION, RECORD OUTCOME, and the two entries of a grace. */
const ENTRIES = [1, 2, 3, 4];

describeWithMongodb("a rotation of which the network loses an answer", () => {
  it.each(LANDED)("is done when its row has landed, and sends it once: %s", async (action) => {
    const { stage, old, rotated, changes } = await rotatedOver("update", 1, action);
    expect([rotated.code, errorOf(rotated)]).toEqual([0, null]);
    // The row, and that it is settled.
    expect(changes()).toBe(2);
    const { rows, graces } = await stored(stage);
    expect(graces).toMatchObject([{ hash: old, endedAt: null }]);
    expect(rows).toMatchObject([{ generation: 2, settled: true }]);
    expect(madeKeys(stage.openRouter)).toHaveLength(2);
  });

  it.each(LOST)("leaves the old key when its row has not landed, and sends it once: %s", async (action) => {
    const { stage, old, rotated, changes } = await rotatedOver("update", 1, action);
    expect([rotated.code, errorOf(rotated)?.["code"]]).toEqual([8, "CONFLICT"]);
    expect(changes()).toBe(1);
    expect((await stored(stage)).rows).toMatchObject([{ hash: old, generation: 1, settled: true }]);
    expect(madeKeys(stage.openRouter)).toEqual([old]);
  });

  it.each(
    ENTRIES.flatMap(
      (nth) =>
        [
          [nth, "cut-answer"],
          [nth, "cut"],
        ] as const,
    ),
  )("leaves nothing that reconcile does not put right after entry %i of its journal: %s", async (nth, action) => {
    const { stage, old } = await rotatedOver("insert", nth, action);
    await reconcileUntilQuiet(stage);
    const { rows } = await stored(stage);
    expect([...(await leftovers(stage)), ...(await earlyDeaths(stage))]).toEqual([]);
    expect(madeKeys(stage.openRouter)).toContain(old);
    await stage.passGraces();
    await reconcileUntilQuiet(stage);
    expect(madeKeys(stage.openRouter)).toEqual(rows.map(({ hash }) => hash));
  });
});

/** Alice's key is rotated over a proxy that applies the action to the nth such change of rows, or insert of an entry. */
async function rotatedOver(command: "insert" | "update", nth: number, action: Action) {
  const { uri, db } = databaseOfTest();
  const openRouter = await mockOpenRouter();
  const env = environmentFor(openRouter);
  const stage = mongoStage(homeAt(uri), openRouter, { db });
  expect(await inProcess(stage.home, ["provision", "-u", "alice"], { env })).toMatchObject({ code: 0 });
  const [old = ""] = madeKeys(openRouter);
  const proxy = await tcpProxy(uri);
  const collection = command === "insert" ? "api_key_journal" : "api_keys";
  let changes = 0;
  proxy.behave(({ name, document }) => {
    if (name !== command || document[command] !== collection) return "pass";
    changes += 1;
    return changes === nth ? action : "pass";
  });
  const rotated = await inProcess(homeAt(proxy.uri), ["rotate", "-u", "alice", "--json"], { env });
  return { stage, old, rotated, changes: () => changes };
}

function homeAt(uri: string): Home {
  const home = homeOn(uri);
  return { ...home, environment: { ...home.environment, KEYCTL_ALLOW_NON_ATOMIC_STORE: "1" } };
}
