import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { interruptEverywhere, withKeyFile, withRows } from "../support/faults/interruptions.ts";
import { BIN, keyctl } from "../support/programs/keyctl.ts";
import { holdLock } from "../support/sqlite/database-file.ts";

const WATCHED = fileURLToPath(new URL("../support/faults/watched-keyctl.mjs", import.meta.url));
const SIGNALS = [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const;

describe("a signal", () => {
  it("at any port call of sync leaves whole rows and one document", async () => {
    const scene = { args: ["sync", "-u", "carol", "--json"], setUp: withKeyFile };
    const { calls, problems, runs } = await interruptEverywhere(scene, ["SIGINT"]);
    expect(calls).toEqual(expect.arrayContaining(["store.find", "masterKeys.generate", "store.insert", "store.close"]));
    expect(problems).toEqual([]);
    expect(runs).toBe(2 * calls.length);
  });

  it.each(SIGNALS)("%s ends the wait for a lock that another process holds", async (signal, code) => {
    const home = emptyHome();
    await withRows(home);
    onTestFinished(holdLock(home.database));
    const tool = start(home, [BIN, "sync", "-u", "carol", "--json", "--timeout", "10m"]);
    await vi.waitFor(() => expect(openFilesOf(tool.pid)).toContain(home.database), PATIENTLY);
    tool.kill(signal);
    expect(await endOf(tool)).toMatchObject({
      code,
      signal: null,
      stderr: expect.stringContaining("error: interrupted"),
    });
  });

  it.each(SIGNALS)("%s ends a list whose reader takes nothing", async (signal) => {
    const home = emptyHome();
    withKeyFile(home);
    const input = Array.from({ length: 2000 }, (_, index) => `user-${index}`).join("\n");
    await keyctl(home, ["sync", "--users-file", "-", "--output", "users.json"], { input });
    const tool = start(home, [BIN, "list", "--json"]);
    await vi.waitFor(() => expect(waitsFor(tool.pid, 1)).toBe(true), PATIENTLY);
    tool.kill(signal);
    const [code, by] = await once(tool, "exit");
    expect({ code, by }).toEqual({ code: null, by: signal });
  });

  it.each(SIGNALS)("%s ends the reading of an input that does not end", async (signal, code) => {
    const tool = start(emptyHome(), [BIN, "save", "-u", "carol", "--stdin", "--json"]);
    await vi.waitFor(() => expect(waitsFor(tool.pid, 0)).toBe(true), PATIENTLY);
    tool.kill(signal);
    const ended = await endOf(tool);
    expect(ended).toMatchObject({ code, stderr: `error: interrupted by ${signal}\n` });
    expect(JSON.parse(ended.stdout)).toMatchObject({
      user_id: "carol",
      error: { code: "INTERRUPTED", exit_code: code },
    });
  });

  it.each(SIGNALS)("%s ends a bulk run that waits for its next user, with a summary", async (signal, code) => {
    const home = emptyHome();
    withKeyFile(home);
    const tool = start(home, [BIN, "sync", "--users-file", "-", "--json"]);
    tool.stdin.write("alice\n");
    await once(tool.stdout, "readable");
    tool.kill(signal);
    const { code: ended, stdout } = await endOf(tool);
    const [alice, summary, ...more] = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown);
    expect(ended).toBe(code);
    expect(alice).toMatchObject({ user_id: "alice", synced: true, error: null });
    expect(summary).toMatchObject({ type: "summary", done: 1, complete: false, error: { code: "INTERRUPTED" } });
    expect(more).toEqual([]);
  });

  it.each(SIGNALS)(
    "%s ends a command for the master keys that hangs, with all that it started",
    async (signal, code) => {
      const home = emptyHome();
      withKeyFile(home);
      const command = "sleep 1000 & echo $$ $! > started.part; mv started.part started; wait";
      const tool = start(home, [BIN, "sync", "-u", "carol"], { KEYCTL_MASTER_KEYS_COMMAND: command });
      const started = join(home.work, "started");
      await vi.waitFor(() => expect(existsSync(started)).toBe(true), PATIENTLY);
      const processes = readFileSync(started, "utf8").trim().split(" ").map(Number);
      expect(processes.map(isRunning)).toEqual([true, true]);
      tool.kill(signal);
      expect(await endOf(tool)).toMatchObject({ code, stderr: expect.stringContaining("error: interrupted") });
      await vi.waitFor(() => expect(processes.map(isRunning)).toEqual([false, false]), PATIENTLY);
    },
  );

  it.each(SIGNALS)("%s ends the process at once when it is the second one", async (signal) => {
    const home = emptyHome();
    withKeyFile(home);
    const calls = join(home.folder, "calls");
    const watch = { WATCH_CALLS: calls, WATCH_AT: "store.find before", WATCH_HANG: "1" };
    const tool = start(home, [WATCHED, "sync", "-u", "carol"], watch);
    await vi.waitFor(() => expect(readFileSync(calls, "utf8")).toContain("store.find <- before"), PATIENTLY);
    tool.kill(signal);
    await sleep(LATER_MS);
    expect(catches(tool.pid, signal)).toBe(true);
    tool.kill(signal);
    expect(await endOf(tool)).toMatchObject({ code: null, signal });
  });
});

/** Long enough that a signal is another one, and not the same once more. */
const LATER_MS = 500;
const PATIENTLY = { timeout: 20_000, interval: 10 };

function start(home: Home, words: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const tool = spawn(process.execPath, words, { cwd: home.work, env: { ...home.environment, ...env } });
  onTestFinished(() => void tool.kill("SIGKILL"));
  return tool;
}

async function endOf(tool: ReturnType<typeof start>) {
  const [stdout, stderr, [code, signal]] = await Promise.all([
    text(tool.stdout),
    text(tool.stderr),
    once(tool, "close") as Promise<[number | null, string | null]>,
  ]);
  return { code, signal, stdout, stderr };
}

function openFilesOf(pid: number | undefined): readonly string[] {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder).flatMap((file) => {
    try {
      return [readlinkSync(join(folder, file))];
    } catch {
      return []; // Closed meanwhile.
    }
  });
}

/** True when the process waits for something to come or go on this descriptor. */
function waitsFor(pid: number | undefined, descriptor: number): boolean {
  const folder = `/proc/${pid}/fdinfo`;
  return readdirSync(folder).some((file) => {
    try {
      return new RegExp(`^tfd:\\s+${descriptor} `, "m").test(readFileSync(join(folder, file), "utf8"));
    } catch {
      return false; // Closed meanwhile.
    }
  });
}

/** True when the process has a handler for this signal. */
function catches(pid: number | undefined, signal: "SIGINT" | "SIGTERM"): boolean {
  const caught = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "";
  const bit = signal === "SIGINT" ? 1n : 14n;
  return ((BigInt(`0x${caught}`) >> bit) & 1n) === 1n;
}

/** False for a process that has ended, also when nobody has collected its exit code. */
function isRunning(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}
