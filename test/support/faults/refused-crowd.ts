import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { emptyHome } from "../home/home.ts";
import type { Home } from "../home/home.ts";
import { stage } from "../home/tool-with-openrouter.ts";
import type { Stage } from "../home/tool-with-openrouter.ts";
import { databaseOfTest } from "../mongodb/of-test.ts";
import { homeOn } from "../mongodb/run.ts";
import type { MockOptions } from "../openrouter/server.ts";
import { withDatabase } from "../sqlite/database.ts";

const CHILD = fileURLToPath(new URL("refused-caller.mjs", import.meta.url));
const LONG_AGO = new Date("2026-01-01T00:00:00Z");

/** An empty store, and how its keys become old: a new key that is refused is not judged at once. */
export interface Place {
  readonly home: Home;
  readonly ageKeys: () => Promise<void>;
}

export function embedded(): Place {
  const home = emptyHome();
  const ageKeys = () =>
    withDatabase(home, (database) => {
      database.exec(`UPDATE api_keys SET created_at = '${LONG_AGO.toISOString()}'`);
    });
  return { home, ageKeys };
}

/** @param isAllowed whether keys may be replaced although the server's changes of a row are not atomic */
export function onMongodb(isAllowed: boolean): Place {
  const { uri, db } = databaseOfTest();
  const home = homeOn(uri);
  const permission = isAllowed ? { KEYCTL_ALLOW_NON_ATOMIC_STORE: "1" } : {};
  return {
    home: { ...home, environment: { ...home.environment, ...permission } },
    ageKeys: async () => void (await db.collection("api_keys").updateMany({}, { $set: { created_at: LONG_AGO } })),
  };
}

export interface Alice extends Stage, Pick<Place, "ageKeys"> {
  /** The hash of her first key, which is old enough to be judged at once. */
  readonly old: string;
}

/** A call costs little, so that no limit is reached. */
const CHEAP = { chatUsd: 0.000_1 };

export async function withAlice(options: MockOptions = {}, { home, ageKeys }: Place = embedded()): Promise<Alice> {
  const all = await stage({ ...CHEAP, ...options }, home);
  await all.given("provision --user alice --limit 10");
  await ageKeys();
  return { ...all, ageKeys, old: [...all.server.keys.keys()][0] ?? "none" };
}

export interface Crowd {
  readonly processes: number;
  /** Callers at the same time, in each process. */
  readonly callers: number;
  /** How often each of them calls. Default: once. */
  readonly rounds?: number;
  readonly renewDisabled?: boolean;
}

/** One call: what its caller got, and how often it was made. */
export interface AnsweredCall {
  readonly status: number;
  readonly attempts: number;
  readonly autoRenewed: boolean;
  readonly code: string | null;
}

/** All processes are ready before `meanwhile`, and all their calls begin after it. */
export async function callsOfCrowd(
  all: Stage,
  crowd: Crowd,
  meanwhile: () => void = () => {},
): Promise<readonly AnsweredCall[]> {
  const callers = await Promise.all(Array.from({ length: crowd.processes }, () => caller(all, crowd)));
  meanwhile();
  for (const { begin } of callers) begin();
  return (await Promise.all(callers.map((one) => one.answers()))).flat();
}

/** A process that is ready for its calls. */
async function caller({ home, env, server }: Stage, { callers, rounds = 1, renewDisabled = false }: Crowd) {
  const task = JSON.stringify({ user: "alice", url: server.url, callers, rounds, renewDisabled });
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", CHILD, task], {
    cwd: home.work,
    env: { ...home.environment, ...env },
    stdio: ["pipe", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const lines: string[] = [];
  const said = createInterface(child.stdout).on("line", (line) => lines.push(line));
  const ended = once(child, "close");
  await once(said, "line");
  return {
    begin: () => child.stdin.write("now\n"),
    async answers(): Promise<readonly AnsweredCall[]> {
      await ended;
      return lines.slice(1).map((line) => JSON.parse(line) as AnsweredCall);
    },
  };
}

/** The different answers, with how many calls got each: `200 renewed, made twice`. */
export function tally(calls: readonly AnsweredCall[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { status, attempts, code } of calls) {
    const words = [
      `${status}`,
      ...(code === null ? [] : [code]),
      attempts === 1 ? "made once" : `made ${attempts} times`,
    ];
    const name = words.join(", ");
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}
