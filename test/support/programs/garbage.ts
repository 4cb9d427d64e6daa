import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { sleep } from "../../../src/core/async/sleep.ts";

/** What memory is in use after the garbage was collected. */
export async function collectGarbage(): Promise<NodeJS.MemoryUsage> {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  for (let times = 0; times < 3; times += 1) {
    collect();
    await sleep(10);
  }
  return process.memoryUsage();
}
