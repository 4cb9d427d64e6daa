import { describe, expect, it } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf } from "../support/programs/in-process.ts";
import { madeKeys } from "../support/openrouter/made-keys.ts";
import { homeOn } from "../support/mongodb/run.ts";
import { databaseOfTest, describeWithMongodb } from "../support/mongodb/of-test.ts";
import { on } from "../support/openrouter/faults.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import { refusalsOf } from "../support/recording/runs.ts";
import { recordingProgram } from "../support/recording/process.ts";

const PROCESSES = 13;
const CAP = 3;
const ROUNDS = [1, 2, 3, 4, 5];

/** Runs processes that all begin at once, each for its own user, after one key was requested explicitly. */
async function crowd(home: Home, spoilt: number) {
  const openRouter = await mockOpenRouter({ latencyMs: 30 });
  openRouter.behave(on("POST /keys", "pass", ...Array.from({ length: spoilt }, () => ({ status: 402 }) as const)));
  const start = await recordingProgram();
  const options = { env: { KEYCTL_MAX_PROVISIONS_PER_HOUR: String(CAP) } };
  // Creates the store and its master key first, because only the cap is under test.
  const first = await start(home, openRouter, { args: ["provision", "--user", "first"] }, options).ended;
  expect([first.code, first.stderr]).toEqual([0, first.stderr]);
  const runs = await Promise.all(
    Array.from({ length: PROCESSES }, (_, index) => {
      const args = ["sync", "--user", `user-${index}`, "--json"];
      return start(home, openRouter, { args }, options).ended;
    }),
  );
  const codes = runs.map((run) => {
    const error = documentsOf(run).at(-1)?.["error"] as { readonly code: string } | null | undefined;
    return error === null ? "made" : (error?.code ?? run.stderr);
  });
  const of = (code: string) => codes.filter((one) => one === code).length;
  return {
    // Without the key that was requested explicitly.
    made: madeKeys(openRouter).length - 1,
    handedOut: of("made"),
    capped: of("PROVISION_CAP"),
    failed: of("PROVISION_REFUSED"),
    refusals: refusalsOf(runs.flatMap(({ traces }) => traces)),
  };
}

function crowds(emptyPlace: () => Home): void {
  it.each(ROUNDS)(`${PROCESSES} processes make no more and no fewer keys than ${CAP}, round %d`, async () => {
    const { refusals, ...counts } = await crowd(emptyPlace(), 0);
    expect(counts).toEqual({ made: CAP, handedOut: CAP, capped: PROCESSES - CAP, failed: 0 });
    expect(refusals).toEqual([]);
  });

  it("operations that come to nothing leave room for others", async () => {
    const failed = 4;
    const { refusals, ...counts } = await crowd(emptyPlace(), failed);
    expect(counts).toEqual({ made: CAP, handedOut: CAP, capped: PROCESSES - CAP - failed, failed });
    expect(refusals).toEqual([]);
  });
}

describe("the hourly cap in the embedded store", () => {
  crowds(emptyHome);
});

describeWithMongodb("the hourly cap over MongoDB's protocol", () => {
  crowds(() => homeOn(databaseOfTest().uri));
});
