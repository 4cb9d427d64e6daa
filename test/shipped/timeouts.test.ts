import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, expect, it, onTestFinished } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { BIN, keyctl } from "../support/programs/keyctl.ts";
import { KEY } from "../support/fixtures/keys.ts";

/** Far less than what is waited for, and enough for a machine that is busy. */
const IN_TIME_MS = 15_000;

/** The tool with a standard input that stays open as long as the test does not close it. */
async function withOpenInput(home: Home, args: readonly string[], input: string) {
  const started = performance.now();
  const child = spawn(process.execPath, [BIN, ...args], { cwd: home.work, env: home.environment });
  onTestFinished(() => void child.kill("SIGKILL"));
  child.stdin.write(input);
  const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, "close")]);
  return { code: code as number | null, stderr, elapsed: performance.now() - started };
}

describe("standard input that never ends", () => {
  it.each([
    ["save", ["save", "--user", "alice", "--stdin"]],
    ["validate", ["validate", "--stdin"]],
  ])("does not keep %s", async (_, args) => {
    const { code, stderr, elapsed } = await withOpenInput(emptyHome(), [...args, "--timeout", "1s"], `${KEY}\n`);
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr:
        "error: standard input did not end within 1s\n" +
        "hint: close it after the key, as in --stdin < key.txt, or give more time with --timeout\n",
    });
    expect(elapsed).toBeLessThan(IN_TIME_MS);
  });
});

describe("a command for master keys that is slower than --timeout", () => {
  it("is named, and nothing of it is left", async () => {
    const home = emptyHome();
    const env = { OPENROUTER_API_KEY: KEY, KEYCTL_MASTER_KEYS_COMMAND: 'echo $$ > "$HOME/pid"; sleep 300' };
    const started = performance.now();
    const run = await keyctl(home, ["sync", "--user", "alice", "--timeout", "2s"], { env });
    expect(performance.now() - started).toBeLessThan(IN_TIME_MS);
    expect(run.code).toBe(4);
    expect(run.stderr).toContain(
      "error: the command in KEYCTL_MASTER_KEYS_COMMAND did not end in time\n" +
        "hint: run it by hand to see how long it takes, and give it more time with --timeout; it has at most 10 s\n",
    );
    const pid = Number(readFileSync(join(home.folder, "pid"), "utf8"));
    await expect.poll(() => isRunning(pid), { timeout: 5_000 }).toBe(false);
  });
});

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // What was killed stays until init has asked for it.
    return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
