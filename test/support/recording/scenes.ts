import { expect } from "vitest";
import type { Ports } from "../../../src/compose.ts";
import { KeyctlError } from "../../../src/core/model/errors.ts";
import { keyEnding, MADE } from "../fixtures/keys.ts";
import { emptyHome } from "../home/home.ts";
import type { Home } from "../home/home.ts";
import type { Rule } from "../openrouter/faults.ts";
import { mockOpenRouter } from "../openrouter/of-test.ts";
import type { OpenRouterServer } from "../openrouter/server.ts";
import { recordedInProcess } from "./keyctl.ts";
import type { Given } from "./keyctl.ts";
import { witnessed } from "./port-calls.ts";
import type { UserTrace } from "./runs.ts";

/** One command of a scene, and what happens around it. */
export interface Step extends Given {
  /** The exit code; default: 0. */
  readonly code?: number;
  readonly upstream?: Rule;
  readonly store?: (ports: Ports) => Ports;
  readonly before?: (home: Home, openRouter: OpenRouterServer) => Promise<void> | void;
}

/** Nobody hears of what this call has done, for the time given by `times`. */
export function losing(name: string, happens: "done" | "not done", times = 1): (ports: Ports) => Ports {
  let left = times;
  const lose = (called: string) => {
    if (called !== name || left === 0) return;
    left -= 1;
    throw new KeyctlError("STORE_UNAVAILABLE", "the connection was closed", { mayHaveHappened: true });
  };
  return (ports) =>
    witnessed(ports, {
      begins: (call) => (happens === "not done" ? lose(call.name) : undefined),
      ends: (call) => (happens === "done" ? lose(call.name) : undefined),
    });
}

/** The database goes away before this call, for the time given by `at`. */
export function away(name: string, at: number): (ports: Ports) => Ports {
  let seen = 0;
  return (ports) =>
    witnessed(ports, {
      begins(call) {
        if (call.name === name && (seen += 1) === at) throw new KeyctlError("STORE_UNAVAILABLE", "it has gone away");
      },
      ends: () => {},
    });
}

/** Runs the commands one after the other on one store and one mock server, whose first key is `MADE`. */
export async function recordedScene(steps: readonly Step[]): Promise<readonly UserTrace[]> {
  let made = 0;
  const openRouter = await mockOpenRouter({
    newKey: () => ((made += 1) === 1 ? MADE : keyEnding(String(made).padStart(4, "0"))),
  });
  const home = emptyHome();
  const recorded: UserTrace[] = [];
  for (const { upstream = () => "pass" as const, store, code = 0, before, ...given } of steps) {
    openRouter.behave(upstream);
    await before?.(home, openRouter);
    const { run, traces } = await recordedInProcess(home, openRouter, given, store);
    expect([given.args[0], run.code, run.stderr]).toEqual([given.args[0], code, run.stderr]);
    recorded.push(...traces);
  }
  return recorded;
}
