import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it, onTestFinished } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { BIN, keyctl } from "../support/programs/keyctl.ts";
import { KEY } from "../support/fixtures/keys.ts";

const WITH_KEY = { OPENROUTER_API_KEY: KEY };

/** A run that has a draft, and waits for more users. */
async function waitingRun(home: Home, output: string) {
  const words = [BIN, "sync", "--users-file", "-", "--output", output];
  const tool = spawn(process.execPath, words, { cwd: home.work, env: { ...home.environment, ...WITH_KEY } });
  onTestFinished(() => void tool.kill("SIGKILL"));
  tool.stdin.write("alice\n");
  while (!draftsIn(home).some((name) => name.includes(`-${tool.pid}-`))) await sleep(5);
  return tool;
}

function draftsIn({ work }: Home): readonly string[] {
  return readdirSync(work).filter((name) => name.startsWith("."));
}

it("is swept by the next run in its folder when its process was killed, and not before", async () => {
  const home = emptyHome();
  const [killed, living] = [await waitingRun(home, "monday.jsonl"), await waitingRun(home, "tuesday.jsonl")];
  expect(draftsIn(home)).toHaveLength(2);
  killed.kill("SIGKILL");
  await once(killed, "exit");
  const run = await keyctl(home, ["get", "--all", "--stored", "--allow-empty", "--output", "wednesday.jsonl"], {
    env: WITH_KEY,
  });
  expect(run.code).toBe(0);
  expect(draftsIn(home)).toEqual([expect.stringContaining(`-${living.pid}-`)]);
  living.stdin.end();
  expect(await once(living, "exit")).toEqual([0, null]);
  expect(readdirSync(home.work).toSorted()).toEqual(["tuesday.jsonl", "wednesday.jsonl"]);
});

it("fits beside a file whose name is as long as a name may be", async () => {
  const home = emptyHome();
  const name = `${"n".repeat(249)}.jsonl`;
  expect((await keyctl(home, ["sync", "-u", "alice", "--output", name], { env: WITH_KEY })).code).toBe(0);
  expect(readdirSync(home.work)).toEqual([name]);
});

it("goes when the disk is full, and its run fails", async () => {
  const home = emptyHome();
  writeFileSync(join(home.work, "users"), Array.from({ length: 4000 }, (_, index) => `user-${index}`).join("\n"));
  expect((await keyctl(home, ["sync", "--users-file", "users"], { env: WITH_KEY })).code).toBe(0);
  // No file may grow beyond 512 KiB.
  const limited = `ulimit -f 512; exec "$0" "$@"`;
  const words = ["-c", limited, process.execPath, BIN, "get", "--all", "--stored", "--output", "out"];
  const tool = spawn("bash", words, { cwd: home.work, env: home.environment });
  let stderr = "";
  tool.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  expect(await once(tool, "close")).toEqual([1, null]);
  expect(stderr).toMatch(/^error: out could not be written \(EFBIG\)$/m);
  expect(readdirSync(home.work)).toEqual(["users"]);
});
