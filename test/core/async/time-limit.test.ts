import { createHook } from "node:async_hooks";
import { getEventListeners } from "node:events";
import { describe, expect, it, onTestFinished } from "vitest";
import { stepSignals, timeLimit } from "../../../src/core/async/deadline.ts";
import { raceSignal } from "../../../src/core/async/race-signal.ts";
import { sleep } from "../../../src/core/async/sleep.ts";
import { emptyHome } from "../../support/home/home.ts";
import { managerOfTest } from "../../support/memory/manager.ts";
import { KEY } from "../../support/fixtures/keys.ts";

const CALLS = 500;
const LONG = { timeoutMs: 600_000 };

describe("a call that has ended", () => {
  it.each([
    ["without a signal", () => undefined],
    ["with one signal for all", forAll(new AbortController().signal)],
    ["with a signal of its own", () => new AbortController().signal],
  ])("%s keeps nothing until its time-out", async (_, signalOf) => {
    const manager = await managerOfTest(emptyHome(), { OPENROUTER_API_KEY: KEY });
    const timers = countTimers();
    const signals = Array.from({ length: CALLS }, signalOf);
    for (const signal of signals) {
      expect(await manager.syncAndGetKey("alice", { ...LONG, signal })).toMatchObject({ error: null });
      expect(await manager.getStoredKey("nobody", { ...LONG, signal })).toMatchObject({ error: { code: "NO_KEY" } });
    }
    // Node tells of cleared timers a little later.
    await sleep(50);
    expect(timers()).toBeLessThan(20);
    for (const signal of signals) if (signal !== undefined) expect(getEventListeners(signal, "abort")).toEqual([]);
  });
});

function forAll(signal: AbortSignal): () => AbortSignal {
  return () => signal;
}

/** How many timers that were set since this call are neither over nor cleared. */
function countTimers(): () => number {
  const live = new Set<number>();
  const hook = createHook({
    init: (id, type) => void (type === "Timeout" && live.add(id)),
    destroy: (id) => void live.delete(id),
  }).enable();
  onTestFinished(() => void hook.disable());
  return () => live.size;
}

describe("a time limit", () => {
  it("ends its work when the time is over, and says so", async () => {
    const { signal } = timeLimit({}, 20);
    await expect(raceSignal(new Promise(() => {}), signal)).rejects.toMatchObject({ name: "TimeoutError" });
  });

  it("follows its caller, also one that has stopped waiting before", () => {
    const caller = new AbortController();
    const limits = Array.from({ length: 3 }, () => timeLimit({ ...LONG, signal: caller.signal }, 1));
    limits[1]?.clear();
    caller.abort(new Error("enough"));
    expect(limits.map(({ signal }) => signal.aborted)).toEqual([true, false, true]);
    const late = timeLimit({ ...LONG, signal: caller.signal }, 1);
    expect(late.signal.reason).toMatchObject({ message: "enough" });
  });

  it("that was cleared ends nothing", async () => {
    const { signal, clear } = timeLimit({}, 5);
    clear();
    await sleep(30);
    expect(signal.aborted).toBe(false);
  });

  it("of a thousand calls with one signal is no leak to Node", async () => {
    const warnings: string[] = [];
    const warn = (warning: Error) => void warnings.push(warning.name);
    process.on("warning", warn);
    const { signal } = new AbortController();
    const limits = Array.from({ length: 1_000 }, () => timeLimit({ ...LONG, signal }, 1));
    await sleep(10);
    for (const { clear } of limits) clear();
    process.off("warning", warn);
    expect(warnings).toEqual([]);
  });
});

describe("the signals of a run's steps", () => {
  it("are few, however many steps it begins", () => {
    const next = stepSignals({}, 60_000);
    expect(new Set(Array.from({ length: 10_000 }, next)).size).toBeLessThan(10);
  });

  it("leave each step nearly all of its time", async () => {
    const next = stepSignals({}, 1_000);
    next();
    await sleep(500);
    const started = performance.now();
    await expect(raceSignal(new Promise(() => {}), next())).rejects.toMatchObject({ name: "TimeoutError" });
    expect(performance.now() - started).toBeGreaterThan(900);
  });

  it("end with the caller's, as the next ones do", () => {
    const caller = new AbortController();
    const next = stepSignals({ signal: caller.signal }, 60_000);
    const first = next();
    caller.abort();
    expect([first.aborted, next().aborted]).toEqual([true, true]);
  });
});
