import { once } from "node:events";
import { setImmediate } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import { deadlineSignal } from "../../../src/core/async/deadline.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** Node holds the sources of AbortSignal.any weakly, so that a time-out in it may never come. */
it.each([
  ["the inner", 60_000, 50],
  ["the outer", 50, 60_000],
])("%s of two time-outs comes, though garbage is collected meanwhile", async (_, outerMs, innerMs) => {
  const patience = nested(outerMs, innerMs);
  const aborted = once(patience, "abort");
  for (let round = 0; round < 5; round += 1) {
    await setImmediate();
    collectGarbage();
  }
  await aborted;
  expect(patience.reason).toMatchObject({ name: "TimeoutError" });
});

function nested(outerMs: number, innerMs: number): AbortSignal {
  const outer = deadlineSignal({ signal: new AbortController().signal }, outerMs);
  return deadlineSignal({ signal: outer, timeoutMs: innerMs }, 60_000);
}
