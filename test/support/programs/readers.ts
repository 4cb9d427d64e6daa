import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import type { Home } from "../home/home.ts";
import { documentsOf } from "./in-process.ts";
import { keyctl } from "./keyctl.ts";
import { hashOf } from "../fixtures/keys.ts";

const CHILD = fileURLToPath(new URL("../sqlite/reading-child.mjs", import.meta.url));

export interface Readers {
  /** Lets the readers finish their current read, then ends them. */
  readonly finish: () => Promise<{ readonly reads: number; readonly failures: readonly string[] }>;
}

/**
 * The readers beside a campaign: a server with the library that opens the store once, the tool repeatedly for one user,
 * and the tool repeatedly for all users. Each must get the right keys every time.
 */
export function readersOf(
  home: Home,
  keys: ReadonlyMap<string, string>,
  env: Readonly<Record<string, string>>,
): Readers {
  const failures: string[] = [];
  let reads = 0;
  const over = new AbortController();
  const loop = async (read: () => Promise<void>) => {
    while (!over.signal.aborted) {
      await read();
      reads += 1;
    }
  };
  const users = [...keys.keys()];
  const one = async () => {
    const user = users[Math.floor(Math.random() * users.length)] ?? "";
    const run = await keyctl(home, ["get", "--user", user, "--stored", "--reveal"], { env });
    if (run.stdout !== `${keys.get(user)}\n` || run.code !== 0)
      failures.push(`get of ${user}: ${run.code} ${run.stderr}`);
  };
  const all = async () => {
    const run = await keyctl(home, ["get", "--all", "--stored", "--reveal", "--json"], { env });
    const given = new Map(documentsOf(run).map((line) => [String(line["user_id"]), line["key"]]));
    const wrong = users.filter((user) => given.get(user) !== keys.get(user));
    if (wrong.length > 0 || run.code !== 0) failures.push(`get of all: ${run.code} ${run.stderr} ${wrong.join(", ")}`);
  };
  const server = serverOf(home, keys, env);
  const loops = Promise.all([loop(one), loop(all)]);
  const finishLoops = () => {
    over.abort();
    return loops;
  };
  // If a test fails before it calls `finish`, its home is removed: the readers end then, and their errors are ignored.
  loops.catch(() => {});
  onTestFinished(async () => void (await Promise.allSettled([finishLoops()])));
  return {
    async finish() {
      await finishLoops();
      const served = await server.finish();
      return { reads: reads + served.reads, failures: [...failures, ...served.failures] };
    },
  };
}

function serverOf(home: Home, keys: ReadonlyMap<string, string>, env: Readonly<Record<string, string>>): Readers {
  const hashes = Object.fromEntries([...keys].map(([user, key]) => [user, hashOf(key)]));
  const child = spawn(process.execPath, [CHILD, JSON.stringify(hashes)], {
    cwd: home.work,
    env: { ...home.environment, ...env },
    stdio: ["pipe", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const ended = once(child, "close");
  const lines: string[] = [];
  createInterface(child.stdout).on("line", (line) => lines.push(line));
  return {
    async finish() {
      child.stdin.end();
      const [code] = await ended;
      const reads = /^reads (\d+)$/.exec(lines.pop() ?? "")?.[1];
      const failures = reads === undefined || code !== 0 ? [`the server ended with ${code}`, ...lines] : lines;
      return { reads: Number(reads ?? 0), failures };
    },
  };
}
