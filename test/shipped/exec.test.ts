import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { constants } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { describe, expect, it, onTestFinished } from "vitest";
import { CANARIES, canariesIn } from "../support/fixtures/leak-canaries.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { BIN, keyctl, onlyIn } from "../support/programs/keyctl.ts";

const CHILD = fileURLToPath(new URL("../support/programs/signalled-child.mjs", import.meta.url));
const KEY = CANARIES.key;

async function homeOfAlice(): Promise<Home> {
  const home = emptyHome();
  await keyctl(home, ["save", "-u", "alice", "--stdin"], { input: KEY });
  return home;
}

const exec = (home: Home, ...words: readonly string[]) => keyctl(home, ["exec", "-u", "alice", "-q", "--", ...words]);
const script = (code: string) => ["node", "-e", code] as const;

describe("the command of exec", () => {
  it("gets the key and no other secret, neither in its environment nor in its words", async () => {
    const home = await homeOfAlice();
    const place = (name: string, content: string) => {
      const path = join(home.folder, name);
      writeFileSync(path, content, { mode: 0o600 });
      return path;
    };
    const uri = `mongodb://admin:${encodeURIComponent(CANARIES.password)}@db.example/keys`;
    const master = await execa("cat", [home.masterKeys]);
    const env = {
      OPENROUTER_API_KEY: CANARIES["replaced key"],
      OPENROUTER_PROVISIONING_KEY: CANARIES["management key"],
      OPENROUTER_MANAGEMENT_KEY: CANARIES["management key"],
      MONGODB_URI: uri,
      MONGO_URI: uri,
      KEYCTL_COPY_TO: uri,
      KEYCTL_STORE_FILE: place("store", `sqlite:${home.database}`),
      KEYCTL_MASTER_KEYS_COMMAND: `cat '${place("master", master.stdout)}'`,
      KEYCTL_KEY_FILE: place("other-key", CANARIES["made key"]),
      HTTPS_PROXY: `http://me:${CANARIES.password}@proxy.example:3128`,
      PLAIN: "stays",
    };
    const dump = "cat /proc/self/environ /proc/self/cmdline /proc/$PPID/cmdline";
    const run = await keyctl(home, ["exec", "-u", "alice", "--", "sh", "-c", dump], { env });
    expect(run.code).toBe(0);
    expect(run.stdout.split(KEY)).toHaveLength(2);
    expect(canariesIn({ child: run.stdout.replace(KEY, ""), log: run.stderr })).toEqual([]);
    const entries = run.stdout.split("\0");
    const names = new Set(entries.map((entry) => entry.split("=")[0]));
    expect(Object.keys(env).filter((name) => names.has(name))).toEqual(["OPENROUTER_API_KEY", "HTTPS_PROXY", "PLAIN"]);
    expect(entries).toContain("HTTPS_PROXY=http://proxy.example:3128");
    // What keyctl sets for its own look-ups is not the command's.
    expect(names.has("RES_OPTIONS")).toBe(false);
  });

  it("does not get the names of the files that secrets are in", async () => {
    const home = await homeOfAlice();
    const path = join(home.folder, "key");
    writeFileSync(path, CANARIES["management key"], { mode: 0o600 });
    const names = [
      "OPENROUTER_PROVISIONING_KEY",
      "OPENROUTER_MANAGEMENT_KEY",
      "MONGODB_URI",
      "MONGO_URI",
      "KEYCTL_COPY_TO",
    ];
    const env = Object.fromEntries(names.map((name) => [`${name}_FILE`, path]));
    const args = ["exec", "-u", "alice", "-q", "--store", `sqlite:${home.database}`, "--", "env"];
    const { code, stdout } = await keyctl(home, args, { env: { ...env, OPENROUTER_API_KEY_FILE: path } });
    expect([code, stdout.match(/^\w*_FILE=/gm)]).toEqual([0, null]);
  });

  it.each([
    ["a code", script("process.exitCode = 7"), 7],
    ["nothing", ["true"], 0],
    ["SIGKILL", script("process.kill(process.pid, 'SIGKILL')"), 137],
    ["SIGTERM", script("process.kill(process.pid, 'SIGTERM')"), 143],
    ["SIGINT", script("process.kill(process.pid, 'SIGINT')"), 130],
    ["SIGSEGV", ["sh", "-c", "ulimit -c 0; kill -SEGV $$"], 139],
  ] as const)("that ends with %s gives keyctl the exit code that shells give", async (_, words, code) => {
    expect(await exec(await homeOfAlice(), ...words)).toMatchObject({
      code,
      signal: undefined,
      stdout: "",
      stderr: "",
    });
  });

  it("that a real-time signal ends gives 0: Node reports it as a success", async () => {
    expect(await exec(await homeOfAlice(), "sh", "-c", "kill -34 $$")).toMatchObject({ code: 0 });
  });

  it("that cannot be run gives 126, and one that is not there 127, with a word why", async () => {
    const home = await homeOfAlice();
    writeFileSync(join(home.work, "plain"), "echo no\n", { mode: 0o600 });
    writeFileSync(join(home.work, "no-interpreter"), "#!/none/sh\n");
    chmodSync(join(home.work, "no-interpreter"), 0o755);
    mkdirSync(join(home.work, "folder"));
    const ends = [];
    for (const name of ["nope-at-all", "./none", "", "./no-interpreter", "./plain", "./folder", "./plain/below"]) {
      const { code, stdout, stderr } = await exec(home, name);
      const [, why] = /^error: the command '.*' (was not found|cannot be run.*)\n$/.exec(stderr) ?? [];
      ends.push([name, code, stdout, why]);
    }
    expect(ends).toEqual([
      ["nope-at-all", 127, "", "was not found"],
      ["./none", 127, "", "was not found"],
      ["", 127, "", "was not found"],
      ["./no-interpreter", 126, "", "cannot be run: its interpreter was not found"],
      ["./plain", 126, "", "cannot be run (EACCES)"],
      ["./folder", 126, "", "cannot be run: it is a folder"],
      ["./plain/below", 126, "", "cannot be run (ENOTDIR)"],
    ]);
  });

  it("has the streams of keyctl, byte for byte", async () => {
    const home = await homeOfAlice();
    const bytes = randomBytes(3_000_000);
    const echo = script("process.stdin.pipe(process.stdout); process.stdin.pipe(process.stderr)");
    const run = await execa(process.execPath, [BIN, "exec", "-u", "alice", "-q", "--", ...echo], {
      ...onlyIn(home, {}),
      input: bytes,
      encoding: "buffer",
      maxBuffer: 10_000_000,
    });
    const isSame = (part: unknown) => part instanceof Uint8Array && bytes.equals(part);
    expect([run.exitCode, isSame(run.stdout), isSame(run.stderr)]).toEqual([0, true, true]);
  });

  it("dies of a closed pipe like any other", async () => {
    const home = await homeOfAlice();
    const line = `exec '${process.execPath}' '${BIN}' exec -u alice -q -- sh -c 'yes; echo $? >&2' | head -1`;
    const { stdout, stderr } = await execa("bash", ["-c", line], onlyIn(home, {}));
    expect([stdout, stderr]).toEqual(["y\n", "141\n"]);
  });

  it("runs when the store is closed: no file of it is open, and nothing lies beside it", async () => {
    const home = await homeOfAlice();
    const look = "ls -l /proc/$PPID/fd /proc/self/fd";
    const { stdout } = await exec(home, "sh", "-c", look);
    expect(stdout).not.toContain("keyctl.db");
    const beside = await exec(home, "ls", join(home.folder, "data", "keyctl"));
    expect(beside.stdout).toBe("keyctl.db\n");
    expect(readdirSync(home.work)).toEqual([]);
  });
});

/** A command that reports its signals. */
async function reporting(home: Home, ignored: readonly string[] = []) {
  const words = [BIN, "exec", "-u", "alice", "-q", "--", process.execPath, CHILD, ...ignored];
  const tool = spawn(process.execPath, words, {
    cwd: home.work,
    env: home.environment,
    stdio: ["pipe", "pipe", "inherit"],
    // A process group of its own, as a shell gives it.
    detached: true,
  });
  onTestFinished(() => void tool.kill("SIGKILL"));
  const lines = createInterface({ input: tool.stdout })[Symbol.asyncIterator]();
  const next = async () => String((await lines.next()).value);
  const [, pid] = /^ready (\d+);$/.exec(await next()) ?? [];
  const ended = new Promise<number | null>((resolve) => tool.once("exit", resolve));
  return { tool, pid: Number(pid), next, ended, end: (code: number) => tool.stdin.write(`end ${code}\n`) };
}

describe("a signal to keyctl", () => {
  it("is passed on to the command, each of them and each time, and ends nothing itself", async () => {
    const { tool, next, end, ended } = await reporting(await homeOfAlice());
    const sent = ["SIGINT", "SIGINT", "SIGTERM", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const;
    const got = [];
    for (const signal of sent) {
      tool.kill(signal);
      got.push(await next());
    }
    expect(got).toEqual(sent.map((signal) => `got ${signal};`));
    end(5);
    expect(await ended).toBe(5);
  });

  it("that was sent to its whole group reaches the command once", async () => {
    const { tool, next, end, ended } = await reporting(await homeOfAlice());
    const sent = ["SIGINT", "SIGTERM", "SIGINT", "SIGUSR2", "SIGHUP"] as const;
    const got = [];
    for (const signal of sent) {
      process.kill(-Number(tool.pid), signal);
      got.push(await next());
      // Longer than a signal to keyctl alone waits before it is passed on.
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    end(0);
    expect([await ended, got, await next()]).toEqual([0, sent.map((signal) => `got ${signal};`), "undefined"]);
  });

  it.each(["SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR", "SIGXCPU", "SIGABRT"] as const)(
    "is passed on, and leaves no command behind: %s",
    async (signal) => {
      const home = await homeOfAlice();
      const words = [BIN, "exec", "-u", "alice", "-q", "--", "sh", "-c", "ulimit -c 0; echo on; exec sleep 60"];
      const tool = spawn(process.execPath, words, { cwd: home.work, env: home.environment });
      onTestFinished(() => void tool.kill("SIGKILL"));
      await new Promise((resolve) => tool.stdout.once("data", resolve));
      tool.kill(signal);
      const end = await new Promise((resolve) => tool.once("exit", (...all) => resolve(all)));
      expect(end).toEqual([128 + constants.signals[signal], null]);
    },
  );

  it("ends with it a command that does not handle it", async () => {
    const home = await homeOfAlice();
    const tool = spawn(
      process.execPath,
      [BIN, "exec", "-u", "alice", "-q", "--", "sh", "-c", "echo on; exec sleep 60"],
      {
        cwd: home.work,
        env: home.environment,
      },
    );
    onTestFinished(() => void tool.kill("SIGKILL"));
    await new Promise((resolve) => tool.stdout.once("data", resolve));
    tool.kill("SIGTERM");
    expect(await new Promise((resolve) => tool.once("exit", (...end) => resolve(end)))).toEqual([143, null]);
  });

  it("stops the command too, and continues it", async () => {
    const { tool, pid, next, end, ended } = await reporting(await homeOfAlice());
    const states = async () => {
      const { stdout } = await execa("ps", ["-o", "stat=", "-p", `${tool.pid},${pid}`]);
      return stdout.split("\n").map((state) => state.startsWith("T"));
    };
    tool.kill("SIGSTOP");
    process.kill(pid, "SIGSTOP");
    await expect.poll(states).toEqual([true, true]);
    tool.kill("SIGCONT");
    expect(await next()).toBe("continued;");
    expect(await states()).toEqual([false, false]);
    end(0);
    expect(await ended).toBe(0);
  });
});
