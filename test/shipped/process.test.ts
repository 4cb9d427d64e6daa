import { spawn } from "node:child_process";
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, expect, it, onTestFinished } from "vitest";
import { filesBelow } from "../support/fixtures/leak-canaries.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { BIN, keyctl } from "../support/programs/keyctl.ts";
import { change } from "../support/sqlite/database-file.ts";

const KEY = `sk-or-v1-${"0a1b2c3d".repeat(7)}0a1bb465`;
const ESCAPE = "\u001B[";
const OUTPUT_FAILED = /^error: the output could not be written \((\w+|it is closed)\)\nhint: .*\n$/;

describe("a pipe that is closed early", () => {
  it.each(["list", "list --json", "get --all --stored", "get --all --stored --json"])(
    "ends %s quietly and well",
    async (command) => {
      const home = await homeWith(40_000);
      const { code, stdout, stderr } = await shell(home, `keyctl ${command} | head -1; exit "\${PIPESTATUS[0]}"`);
      expect(stdout.match(/\n/g)).toHaveLength(1);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    },
  );

  it("fails a bulk run that may have changed something, also when only the summary is left to write", async () => {
    const tool = start(await homeWith(1), ["sync", "--users-file", "-", "--json"]);
    tool.stdin.write("user-0\n");
    await once(tool.stdout, "data");
    tool.stdout.destroy();
    await once(tool.stdout, "close");
    tool.stdin.end();
    expect(await endOf(tool)).toEqual({
      code: 1,
      signal: null,
      stderr: expect.stringMatching(
        /\nerror: the output could not be written \(EPIPE\); the run finished: 1 user in \ds: 1 from database\nhint: .*\n$/,
      ),
    });
  });

  it.each(["get -u user-0", "get -u user-0 --json", "get -u user-0 --reveal", "list --count", "sync -u user-0 -q"])(
    "fails what is one document: %s",
    async (command) => {
      const { code, stderr } = await shell(await homeWith(1), toClosedPipe(`keyctl ${command} -q`));
      expect(stderr).toMatch(/^error: the output could not be written \(EPIPE\)\n$/);
      expect(code).toBe(1);
    },
  );

  it("is no failure for help", async () => {
    const { code, stderr } = await shell(await homeWith(0), toClosedPipe("keyctl --help"));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  });

  it("ends no run that may change something, which then says what it has done", async () => {
    const { code, stderr } = await shell(await homeWith(3), "keyctl sync --all --json >/dev/full");
    expect(stderr).toMatch(
      /^note: .* \(ENOSPC\); the run continues\nerror: .* the run finished: 3 users in \d+s: 3 from database\nhint: .*\n$/,
    );
    expect(code).toBe(1);
  });

  it("changes nothing when it is standard error's", async () => {
    const { code, stdout } = await shell(
      await homeWith(1),
      `exec 3>&1; { keyctl sync -u user-0 2>&1 >&3 3>&-; echo "exit $?" >&3; } | true`,
    );
    expect({ code, stdout }).toEqual({ code: 0, stdout: "***************b465 (source: database)\nexit 0\n" });
  });
});

describe("a disk that is full", () => {
  it.each(["list", "list --json", "list --count", "get -u user-0", "get -u user-0 --reveal", "--help"])(
    "fails %s in one line",
    async (command) => {
      const { code, stderr } = await shell(await homeWith(3), `keyctl ${command} >/dev/full`);
      expect(stderr).toMatch(OUTPUT_FAILED);
      expect(stderr).toContain("(ENOSPC)");
      expect(code).toBe(1);
    },
  );

  it("changes nothing when it is standard error's", async () => {
    const { code, stdout } = await shell(await homeWith(1), "keyctl sync -u user-0 2>/dev/full");
    expect({ code, stdout }).toEqual({ code: 0, stdout: "***************b465 (source: database)\n" });
  });

  it("fails a bulk run whose --output has no folder", async () => {
    const run = await keyctl(await homeWith(1), ["get", "--all", "--stored", "--output", "missing/out.jsonl"]);
    expect(run.stderr).toBe(
      "error: missing/out.jsonl could not be written (ENOENT)\nhint: check the folder and the free space of --output\n",
    );
    expect(run.code).toBe(1);
  });

  it("does not put the file of --output in the place of a device, a pipe or a folder", async () => {
    const home = await homeWith(1);
    const refused = await shell(home, "mkfifo pipe && keyctl get --all --stored --output pipe");
    expect(refused.stderr).toMatch(/^error: --output: pipe cannot be replaced: it is not a regular file\nhint: /);
    expect(refused.code).toBe(2);
    expect(statSync(join(home.work, "pipe")).isFIFO()).toBe(true);
    expect((await keyctl(home, ["get", "--all", "--stored", "--output", "."])).code).toBe(2);
    expect(readdirSync(home.work)).toEqual(["pipe"]);
  });
});

describe("a stream that was closed before the start", () => {
  it.each(["get -u user-0 --reveal", "get -u user-0 --json", "sync -u user-0 --json -q", "list --count --json"])(
    "fails what is one document, since it reached nobody: %s",
    async (command) => {
      const { code, stderr } = await shell(await homeWith(1), `keyctl ${command} >&-`);
      expect(stderr).toMatch(/^error: the output could not be written \(it is closed\)\n/);
      expect(code).toBe(1);
    },
  );

  it.each([
    ["sync -u user-0 >&-", 0],
    ["sync -u user-0 2>&-", 0],
    ["get -u user-0 --reveal 2>&-", 0],
    ["get -u nobody 2>&-", 3],
    ["get -u user-0 <&-", 0],
    ["save -u bob --stdin <&-", 2],
    ["sync --users-file - <&-", 3],
    ["list <&- 2>&-", 0],
    ["list <&- >&- 2>&-", 0],
    ["sync --all --json >&-", 0],
  ])("does not stop the work: %s", async (command, expected) => {
    const { code, stderr } = await shell(await homeWith(1), `keyctl ${command}`);
    expect(code).toBe(expected);
    expect(stderr).not.toMatch(/\n {4}at /);
  });

  it("reveals to /dev/null when a person asks for that", async () => {
    const { code } = await shell(await homeWith(1), "keyctl get -u user-0 --reveal >/dev/null");
    expect(code).toBe(0);
  });
});

describe("a slow reader", () => {
  const rows = 13_000;

  it("gets all of 5 MB of JSON", async () => {
    const { code, stdout } = await shell(await homeWith(rows), `keyctl list --json | slow; exit "\${PIPESTATUS[0]}"`);
    expect(code).toBe(0);
    expect(stdout.length).toBeGreaterThan(5_000_000);
    expect(usersIn(stdout).size).toBe(rows);
  });

  it("gets all of it through a pipe that does not block", async () => {
    // Node makes its standard output non-blocking and, killed like this, leaves it so.
    const unblock = `{ node -e 'process.stdout.write(""); process.kill(process.pid, "SIGKILL")'; } 2>/dev/null`;
    const flags = "sed -n 's/^flags:.*\\(.\\)...$/flags \\1/p' /proc/$BASHPID/fdinfo/1 >&2";
    const { code, stdout, stderr } = await shell(
      await homeWith(rows),
      `{ ${unblock}; ${flags}; keyctl list --json -q; echo "exit $?" >&2; } | slow`,
    );
    expect(stderr).toBe("flags 4\nexit 0\n");
    expect(code).toBe(0);
    expect(usersIn(stdout).size).toBe(rows);
  });
});

describe("colour", () => {
  it.each([
    ["list", ""],
    ["get -u user-0", ""],
    ["sync -u nobody", ""],
    ["--help", ""],
    ["sync -u nobody", "NO_COLOR=1 "],
    ["sync -u nobody", "FORCE_COLOR=3 CLICOLOR_FORCE=1 "],
  ])("is never there off a terminal: keyctl %s (%s)", async (command, environment) => {
    const { stdout, stderr } = await shell(await homeWith(1), `${environment}keyctl ${command}`);
    expect(stdout + stderr).not.toContain(ESCAPE);
  });

  it.each([
    ["get -u user-0", "", true],
    ["list", "", true],
    ["sync -u nobody", "", true],
    ["get -u user-0", "CI=1 ", true],
    ["get -u user-0", "NO_COLOR= ", true],
    ["get -u user-0", "NO_COLOR=1 ", false],
    ["get -u user-0", "TERM=dumb ", false],
    ["get -u user-0 --no-color", "", false],
    ["get -u user-0 --reveal", "", false],
    ["get -u user-0 --json -q", "", false],
    ["sync -u nobody", "NO_COLOR=1 ", false],
    ["get -u user-0 -q | cat", "", false],
  ])("follows the terminal: keyctl %s (%s)", async (command, environment, coloured) => {
    const { screen } = await onTerminal(await homeWith(1), `${environment}keyctl ${command} 2>&1`);
    expect(screen).not.toBe("");
    expect(screen.includes(ESCAPE)).toBe(coloured);
  });

  it("is on standard error when only that is a terminal", async () => {
    const { screen } = await onTerminal(await homeWith(1), "keyctl sync -u nobody | cat");
    expect(screen).toContain(`${ESCAPE}31merror:`);
  });

  it("leaves a question unasked where CI is set, and says which flag answers it", async () => {
    const { screen, code } = await onTerminal(await homeWith(1), "CI=1 keyctl purge -u user-0");
    expect(screen).toContain("hint: keyctl purge -u user-0 --yes");
    expect(code).toBe(2);
  });
});

describe("what the built tool loads on a terminal only", () => {
  it("measures ids that are not ASCII", async () => {
    const home = await homeWith(1);
    change(home.database, "UPDATE api_keys SET user_id = '日本語'");
    const { screen, code } = await onTerminal(home, "keyctl list --no-color");
    expect(screen).toMatch(/^日本語 {2}\*{15}b465 {2}\S+ +\d+\w +never\r?$/m);
    expect(code).toBe(0);
  });

  it.each([80, 0])("leaves no progress behind on a terminal of %d columns", async (columns) => {
    const width = `stty cols ${columns} < /dev/tty;`;
    const { screen, code } = await onTerminal(await homeWith(2000), `${width} keyctl get --all --stored > out.txt`);
    expect(screen).not.toContain(`${ESCAPE}?25l`);
    expect(screen).toMatch(/(?:^|K|\n)2,000 users in \d+s: 2,000 from database\r?\n$/);
    expect(code).toBe(0);
  });
});

/** A home whose database holds user-0's key, sealed, and those of others in clear up to this number. */
async function homeWith(rows: number): Promise<Home> {
  const bare = emptyHome();
  const home = { ...bare, environment: { ...bare.environment, KEYCTL_REQUIRE_SEALED: "0" } };
  if (rows === 0) return home;
  seed ??= await madeByTool();
  for (const [path, bytes] of Object.entries(seed)) {
    mkdirSync(join(home.folder, dirname(path)), { recursive: true });
    writeFileSync(join(home.folder, path), bytes, { mode: 0o600 });
  }
  const columns = "provider, key_hash, key_tail, source, created_at, updated_at, revision";
  change(
    home.database,
    `WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ${rows})
     INSERT INTO api_keys (_id, user_id, key_encrypted, ${columns})
     SELECT n, 'user-' || n, '${KEY}', ${columns} FROM numbers, api_keys WHERE n < ${rows}`,
  );
  return home;
}

let seed: Awaited<ReturnType<typeof madeByTool>> | undefined;

/** The files of a home with one key. */
async function madeByTool() {
  const home = emptyHome();
  const { code } = await keyctl(home, ["sync", "-u", "user-0"], { env: { OPENROUTER_API_KEY: KEY } });
  expect(code).toBe(0);
  return filesBelow(home.folder);
}

const FUNCTIONS = `
  keyctl() { "$NODE" "$BIN" "$@"; }
  node() { "$NODE" "$@"; }
  slow() { node --input-type=module -e '
    import { setTimeout } from "node:timers/promises";
    for await (const chunk of process.stdin) {
      process.stdout.write(chunk);
      await setTimeout(1);
    }'; }`;

/** Runs bash with `keyctl`, `node` and `slow`, which copies its input slowly. */
async function shell(home: Home, script: string) {
  const tool = spawn("bash", ["-c", `${FUNCTIONS}\n${script}`], { cwd: home.work, env: shellEnvironment(home) });
  tool.stdin.end();
  const [stdout, end] = await Promise.all([text(tool.stdout), endOf(tool)]);
  return { ...end, stdout };
}

/** The command on a terminal of its own, with nothing typed. */
async function onTerminal(home: Home, command: string) {
  const script = `${FUNCTIONS}\n${command}\nexit "\${PIPESTATUS[0]}"`;
  const file = join(home.folder, "on-terminal.sh");
  writeFileSync(file, script);
  const tool = spawn("script", ["-qec", `bash ${file}`, "/dev/null"], {
    cwd: home.work,
    env: { ...shellEnvironment(home), TERM: "xterm-256color" },
  });
  const [screen, end] = await Promise.all([text(tool.stdout), endOf(tool)]);
  return { ...end, screen };
}

/** The command, writing to a pipe that nobody reads any more. */
function toClosedPipe(command: string): string {
  return `mkfifo pipe; (exec 3<pipe) & exec 4>pipe; wait; ${command} >&4`;
}

function start(home: Home, args: readonly string[]) {
  const tool = spawn(process.execPath, [BIN, ...args], { cwd: home.work, env: home.environment });
  onTestFinished(() => void tool.kill("SIGKILL"));
  return tool;
}

async function endOf(tool: ChildProcessWithoutNullStreams) {
  const [stderr, [code, signal]] = await Promise.all([text(tool.stderr), once(tool, "close")]);
  return { code, signal, stderr };
}

function shellEnvironment(home: Home): NodeJS.ProcessEnv {
  return { ...home.environment, NODE: process.execPath, BIN };
}

function usersIn(jsonLines: string): ReadonlySet<string> {
  const rows = jsonLines.trimEnd().split("\n");
  return new Set(rows.map((line) => (JSON.parse(line) as { user_id: string }).user_id));
}
