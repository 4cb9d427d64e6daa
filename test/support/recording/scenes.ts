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
  /** What another person does in the middle of this command. */
  readonly meanwhile?: Meanwhile;
}

interface Meanwhile {
  /** A call of the store. */
  readonly when: `${"before" | "after"} ${"insert" | "replace" | "remove" | "insertEntry"}`;
  /** Which of the calls of that name, from 1; default: the first. */
  readonly nth?: number;
  readonly steps: readonly Step[];
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
  return recordedSteps(steps, { home: emptyHome(), openRouter });
}

interface Place {
  readonly home: Home;
  readonly openRouter: OpenRouterServer;
  /** The commands run while another one does. */
  readonly beside?: Given["beside"];
}

async function recordedSteps(steps: readonly Step[], place: Place): Promise<readonly UserTrace[]> {
  const { home, openRouter, beside } = place;
  const recorded: UserTrace[] = [];
  for (const { upstream, store, code = 0, before, meanwhile, ...given } of steps) {
    if (upstream !== undefined) openRouter.behave(upstream);
    await before?.(home, openRouter);
    const interrupts = async ({ steps: others }: Meanwhile) => {
      recorded.push(...(await recordedSteps(others, { ...place, beside: { besideOthers: true } })));
    };
    const below = (ports: Ports) => {
      const disturbed = store?.(ports) ?? ports;
      return meanwhile === undefined ? disturbed : interrupted(disturbed, meanwhile, () => interrupts(meanwhile));
    };
    const asGiven = beside === undefined ? given : { ...given, beside };
    const { run, traces } = await recordedInProcess(home, openRouter, asGiven, below);
    expect([given.args[0], run.code, run.stderr]).toEqual([given.args[0], code, run.stderr]);
    recorded.push(...traces);
    openRouter.behave(() => "pass");
  }
  return recorded;
}

function interrupted(ports: Ports, { when, nth = 1 }: Meanwhile, interrupts: () => Promise<void>): Ports {
  const [moment, name] = when.split(" ");
  let calls = 0;
  const store = new Proxy(ports.store, {
    get(target, property) {
      const member: unknown = Reflect.get(target, property);
      if (property !== name || typeof member !== "function") return member;
      return async (...words: readonly unknown[]) => {
        calls += 1;
        const isIt = calls === nth;
        if (isIt && moment === "before") await interrupts();
        const answer: unknown = await Reflect.apply(member, target, words);
        if (isIt && moment === "after") await interrupts();
        return answer;
      };
    },
  });
  return { ...ports, store };
}
