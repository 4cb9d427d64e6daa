// A server that uses the library: it saves a key for each line of input, and reports the result and the longest time,
// in milliseconds, during which its event loop was blocked.
import { randomBytes } from "node:crypto";
import { createInterface } from "node:readline";
import { KeyManager } from "../../../dist/library/index.js";

const keys = await KeyManager.open();
for await (const line of createInterface(process.stdin)) {
  const { user, timeoutMs } = JSON.parse(line);
  const { value, longestGapMs } = await withGaps(() =>
    keys.saveKeyToDb(user, `sk-or-v1-${randomBytes(32).toString("hex")}`, "manual", { timeoutMs }),
  );
  console.log(JSON.stringify({ code: value.error?.code ?? null, longestGapMs }));
}
await keys.close();

async function withGaps(work) {
  let last = performance.now();
  let longestGapMs = 0;
  const tick = () => {
    const now = performance.now();
    longestGapMs = Math.max(longestGapMs, now - last);
    last = now;
  };
  const timer = setInterval(tick, 5);
  const value = await work();
  tick();
  clearInterval(timer);
  return { value, longestGapMs };
}
