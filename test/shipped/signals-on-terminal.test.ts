import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { documentsOf } from "../support/programs/in-process.ts";
import { keyctl } from "../support/programs/keyctl.ts";
import { madeKeys, stored } from "../support/openrouter/made-keys.ts";
import { mockOpenRouter } from "../support/openrouter/of-test.ts";
import type { Rule } from "../support/openrouter/faults.ts";
import type { OpenRouterServer } from "../support/openrouter/server.ts";
import { environmentFor } from "../support/recording/keyctl.ts";
import { CTRL_BACKSLASH, CTRL_C, terminalSession } from "../support/programs/terminal-session.ts";
import type { SessionOptions, TerminalSession } from "../support/programs/terminal-session.ts";

const WATCHED = fileURLToPath(new URL("../support/faults/watched-keyctl.mjs", import.meta.url));
/** More than can be made before a signal comes. */
const USERS = 2000;
const LATENCY_MS = 40;

interface Scene {
  readonly home: Home;
  readonly server: OpenRouterServer;
  readonly start: (args: readonly string[], options?: SessionOptions) => TerminalSession;
}

async function scene(rule?: Rule): Promise<Scene> {
  const home = emptyHome();
  const server = await mockOpenRouter({ latencyMs: LATENCY_MS });
  if (rule !== undefined) server.behave(rule);
  writeFileSync(join(home.work, "users"), Array.from({ length: USERS }, (_, index) => `user-${index}`).join("\n"));
  const env = { ...environmentFor(server), KEYCTL_MAX_PROVISIONS_PER_HOUR: "0" };
  return { home, server, start: (args, options) => terminalSession(home, args, { env, ...options }) };
}

const SYNC = ["sync", "--users-file", "users", "--provision", "--max-keys", "100000"];
/** Where the documents of a bulk run go; its progress is on the terminal. */
const PLACES = {
  "a file": { args: [...SYNC, "--json"], stdout: "out" },
  "--output": { args: [...SYNC, "--output", "out"], stdout: "-" },
} as const;
const WAYS = [
  ["Ctrl-C", 130, (tool: TerminalSession) => tool.type(CTRL_C)],
  ["SIGINT", 130, (tool: TerminalSession) => tool.send("SIGINT")],
  ["SIGTERM", 143, (tool: TerminalSession) => tool.send("SIGTERM")],
  ["SIGHUP", 143, (tool: TerminalSession) => tool.send("SIGHUP")],
  ["the end of the terminal", 143, (tool: TerminalSession) => tool.hangUp()],
] as const;

/** Until so many keys were made: the run is in the middle of its work. */
async function untilMade({ server }: Scene, count = 12): Promise<void> {
  while (madeKeys(server).length < count) await sleep(5);
}

interface Summary {
  readonly type: string;
  readonly done: number;
  readonly complete: boolean;
  readonly error: { readonly code: string; readonly exit_code: number } | null;
}

function documentsIn(home: Home, name = "out"): readonly Summary[] {
  const lines = readFileSync(join(home.work, name), "utf8").trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line) as Summary);
}

/** Every key upstream is in a row, and every row's key is upstream. */
async function expectNothingLost({ home, server }: Scene): Promise<void> {
  const { rows } = await stored({ home });
  expect(rows.map(({ hash }) => hash).toSorted()).toEqual(madeKeys(server).toSorted());
}

describe.each(Object.entries(PLACES))(
  "a signal during a bulk run with its progress, its documents in %s",
  (_, place) => {
    it.each(WAYS)("%s: exit %i, a summary, every key in a row", async (name, code, act) => {
      const given = await scene();
      const out = join(given.home.work, "out");
      const tool = given.start(place.args, place.stdout === "-" ? {} : { stdout: out });
      await untilMade(given);
      await act(tool);
      const ending = await tool.ended;
      const gone = name === "the end of the terminal";
      expect(ending).toMatchObject({ code, signal: null, echoes: gone ? null : true, showsCursor: true });
      if (!gone) expect(ending.screen).toContain("error: interrupted by SIG");
      const documents = documentsIn(given.home);
      const { type, done, complete, error } = documents.at(-1) as Summary;
      expect({ type, complete, error }).toMatchObject({
        type: "summary",
        complete: false,
        error: { code: "INTERRUPTED", exit_code: code },
      });
      // What was created is told of, but what was in flight: eight at a time.
      expect(documents).toHaveLength(done + 1);
      const made = madeKeys(given.server).length;
      expect(made - done).toBeLessThanOrEqual(8);
      expect(done).toBeGreaterThan(0);
      await expectNothingLost(given);
      expect(readdirSync(given.home.work).toSorted()).toEqual(["out", "users"]);
    });
  },
);

describe("a terminal that is closed", () => {
  it("ends a bulk run whose lines it was to show with 143", async () => {
    const given = await scene();
    const tool = given.start(SYNC);
    await untilMade(given);
    tool.hangUp();
    expect(await tool.ended).toMatchObject({ code: 143, signal: null });
    await expectNothingLost(given);
  });

  it("sends several signals, and none of them ends the process at once", async () => {
    const given = await scene();
    const tool = given.start(PLACES["--output"].args);
    await untilMade(given);
    await tool.send("SIGTERM");
    await sleep(200);
    for (let times = 0; times < 3; times += 1) await tool.send("SIGHUP");
    expect(await tool.ended).toMatchObject({ code: 143, signal: null });
    await expectNothingLost(given);
  });
});

/** Keys that are made, and of which OpenRouter never says so: the run waits for each. */
const SILENT: Rule = ({ route }) => (route === "POST /keys" ? "hang-after" : "pass");

describe("a second signal", () => {
  it.each(["SIGINT", "SIGTERM"] as const)("%s ends the process at once, and leaves no draft", async (signal) => {
    const given = await scene(SILENT);
    const tool = given.start(PLACES["--output"].args);
    await untilMade(given, 8);
    expect(draftsIn(given.home)).toHaveLength(1);
    await tool.send("SIGINT");
    await tool.shows("note: keyctl finishes what it has started");
    await tool.send(signal);
    expect(await tool.ended).toMatchObject({ code: null, signal, echoes: true, showsCursor: true });
    expect(readdirSync(given.home.work)).toEqual(["users"]);
  });

  it("is not what comes with the first, as `timeout` sends it", async () => {
    const given = await scene();
    const tool = given.start(PLACES["--output"].args);
    await untilMade(given);
    await tool.send("SIGTERM");
    await sleep(10);
    await tool.send("SIGTERM");
    expect(await tool.ended).toMatchObject({ code: 143, signal: null });
    await expectNothingLost(given);
  });

  it("ends a process, too, that the system's look-up of a host name keeps from its end", async () => {
    const given = await scene();
    const preload = join(given.home.folder, "preload.cjs");
    writeFileSync(preload, `process.getActiveResourcesInfo = () => ["GetAddrInfoReqWrap"];`);
    const tool = given.start(["list"], { env: { NODE_OPTIONS: `--require=${preload}` } });
    await tool.shows("no store exists yet");
    await tool.send("SIGINT");
    expect(await Promise.race([sleep(500, "running"), tool.ended])).toBe("running");
    await tool.send("SIGINT");
    expect(await tool.ended).toMatchObject({ code: null, signal: "SIGINT" });
  });

  it("is no core: Ctrl-\\ ends the process at once as SIGTERM does", async () => {
    const given = await scene(SILENT);
    const tool = given.start(PLACES["--output"].args);
    await untilMade(given, 8);
    tool.type(CTRL_BACKSLASH);
    expect(await tool.ended).toMatchObject({ code: null, signal: "SIGTERM", echoes: true, showsCursor: true });
    expect(readdirSync(given.home.work)).toEqual(["users"]);
  });
});

describe("a signal after the last document", () => {
  it("changes neither the exit code nor what was said", async () => {
    let alive = 0;
    for (let round = 0; round < 12; round += 1) {
      const given = await scene();
      const out = join(given.home.work, "out");
      const tool = given.start(["sync", "--user", "alice", "--json"], { stdout: out });
      await untilWritten(out);
      if (await tool.send("SIGTERM")) alive += 1;
      expect(await tool.ended).toMatchObject({ code: 0, signal: null });
      expect(documentsIn(given.home)).toMatchObject([{ error: null }]);
    }
    // Node takes its time to end after a request.
    expect(alive).toBeGreaterThan(0);
  });

  it("is in the summary of a reconcile whose store is being closed", async () => {
    const given = await scene();
    expect(await given.start(["sync", "--user", "alice"]).ended).toMatchObject({ code: 0 });
    const watch = { WATCH_CALLS: join(given.home.folder, "calls"), WATCH_AT: "store.close before" };
    const env = { ...environmentFor(given.server), ...watch, WATCH_SIGNAL: "SIGINT" };
    const { code, stdout } = await keyctl(given.home, ["reconcile", "--json"], { env }, WATCHED);
    expect(code).toBe(130);
    expect(documentsOf({ stdout })).toMatchObject([
      { type: "summary", complete: false, error: { code: "INTERRUPTED", exit_code: 130 } },
    ]);
  });
});

async function untilWritten(file: string): Promise<void> {
  while (!existsSync(file) || readFileSync(file).length === 0) await sleep(1);
}

function draftsIn({ work }: Home): readonly string[] {
  return readdirSync(work).filter((name) => name.startsWith(".keyctl-output-"));
}
