import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { KEY, OTHER } from "../support/fixtures/keys.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { inProcess } from "../support/programs/in-process.ts";
import { keyctl } from "../support/programs/keyctl.ts";
import { CTRL_C, CTRL_D, CTRL_Z, ENTER, terminalSession } from "../support/programs/terminal-session.ts";
import type { TerminalSession } from "../support/programs/terminal-session.ts";
import { storedUsers } from "../support/sqlite/database.ts";

const SAVE = ["save", "--user", "alice"];
const QUESTION = "OpenRouter key of alice: (not shown)";
const WRONG = "this is not a valid OpenRouter key: it is empty; try again";
const MASKED = "this is the mask of a key, not the key; try again";
const FAILED = "Module.prototype.require has failed";

/** The tool, which does this when it loads a file of its own: `wait` for some seconds, or `fail`. */
function hookedSession(home: Home, args: readonly string[], file: string, act: "wait" | "fail"): TerminalSession {
  const hook = join(home.folder, "hook.cjs");
  const acts = {
    wait: `require("node:fs").writeFileSync(${JSON.stringify(mark(home))}, "");
      const end = Date.now() + 3000; while (Date.now() < end);`,
    fail: `throw new Error("${FAILED}");`,
  };
  writeFileSync(
    hook,
    `const { prototype } = require("node:module"); const load = prototype.require;
     prototype.require = function (path) { if (path.endsWith("${file}")) { ${acts[act]} } return load.call(this, path); };`,
  );
  return terminalSession(home, args, { env: { NODE_OPTIONS: `--require=${hook}` } });
}

function mark(home: Home): string {
  return join(home.folder, "waits");
}

/** Until the hook waits. */
async function isWaiting(home: Home): Promise<void> {
  while (!existsSync(mark(home))) await sleep(5);
}

async function isSilent(tool: TerminalSession): Promise<"silent"> {
  await tool.started;
  while (await tool.echoes()) await sleep(5);
  return "silent";
}

describe("a key that is typed before its question is there", () => {
  it.each([
    ["save", SAVE, QUESTION],
    ["save --stdin", [...SAVE, "--stdin"], QUESTION],
    ["options before save", ["--timeout", "20s", "-q", ...SAVE], QUESTION],
    ["validate --stdin", ["validate", "--stdin"], "The key to validate: (not shown)"],
    ["leaked --stdin", ["leaked", "--stdin"], "The key that leaked, or its SHA-256: (not shown)"],
  ])("is not shown once the process has begun: %s", async (_, args, question) => {
    const tool = hookedSession(emptyHome(), args, "prompt.cjs", "wait");
    const asked = tool.shows(question);
    expect(await Promise.race([isSilent(tool), asked.then(() => "asked")])).toBe("silent");
    tool.type(KEY + ENTER);
    await asked;
    const { screen, echoes } = await tool.ended;
    expect([screen.includes(KEY.slice(-8)), screen.includes(KEY.slice(9, 20)), echoes]).toEqual([false, false, true]);
  });

  it("is not shown where CI=false says that this is no CI job", async () => {
    const home = emptyHome();
    const noJob = { ...home, environment: { ...home.environment, CI: "false" } };
    const tool = hookedSession(noJob, SAVE, "prompt.cjs", "wait");
    await isWaiting(noJob);
    expect(await tool.echoes()).toBe(false);
    tool.type(KEY + ENTER);
    expect(await tool.ended).toMatchObject({ code: 0, echoes: true });
  });

  it.each(["at once", "in time"])("is not lost when it is typed %s", async (when) => {
    const home = emptyHome();
    const tool = hookedSession(home, SAVE, "prompt.cjs", "wait");
    await (when === "at once" ? tool.started : isSilent(tool));
    tool.type(KEY + ENTER);
    expect(await tool.ended).toMatchObject({ code: 0, echoes: true });
    expect(await storedUsers(home)).toEqual(["alice"]);
  });

  it("answers one question for a key a line, and no other question", async () => {
    const home = emptyHome();
    await inProcess(home, [...SAVE, "--stdin"], { input: OTHER });
    const tool = hookedSession(home, SAVE, "prompt.cjs", "wait");
    await isSilent(tool);
    tool.type(`nonsense${ENTER}${KEY}${ENTER}y${ENTER}`);
    await tool.shows("try again");
    await tool.shows("alice already has another key");
    await sleep(300);
    tool.type(ENTER);
    expect(await tool.ended).toMatchObject({ code: 2, screen: expect.stringContaining("nothing was changed") });
  });

  it.each([
    ["prompt.cjs", "SIGTERM", 143],
    ["prompt.cjs", "SIGINT", 130],
    ["prompt.cjs", "SIGHUP", 143],
    ["main.cjs", "SIGTERM", null],
    ["main.cjs", "SIGINT", null],
    ["main.cjs", "SIGHUP", 143],
    ["main.cjs", "SIGQUIT", null],
  ] as const)("leaves a terminal that echoes: while %s is loaded, %s", async (file, signal, code) => {
    const home = emptyHome();
    const tool = hookedSession(home, SAVE, file, "wait");
    await isWaiting(home);
    expect(await tool.echoes()).toBe(false);
    await tool.send(signal);
    const ending = await tool.ended;
    expect([ending.code, ending.echoes]).toEqual([code, true]);
  });

  it.each([
    ["Ctrl-C", CTRL_C, 130],
    ["Ctrl-Z, where no shell could resume it, and a key", `${CTRL_Z}${KEY}${ENTER}`, 0],
  ])("may be %s", async (_, typed, code) => {
    const tool = hookedSession(emptyHome(), SAVE, "prompt.cjs", "wait");
    await isSilent(tool);
    tool.type(typed.slice(0, 1));
    if (typed.length > 1) await tool.shows(QUESTION);
    tool.type(typed.slice(1));
    expect(await tool.ended).toMatchObject({ code, echoes: true });
  });

  it.each(["prompt.cjs", "main.cjs"])("leaves a terminal that echoes when %s cannot be loaded", async (file) => {
    const { code, echoes } = await hookedSession(emptyHome(), SAVE, file, "fail").ended;
    expect([code, echoes]).toEqual([1, true]);
  });

  it.each([
    [["save"], 2],
    [["save", "--help"], 0],
    [["save", "--user", "alice", "--from-file", "missing"], 2],
    [["list"], 0],
  ])("leaves a terminal that echoes where no question comes: %j", async (args, code) => {
    expect(await terminalSession(emptyHome(), args).ended).toMatchObject({ code, echoes: true });
  });
});

describe("a key that is wrong", () => {
  it("is asked for again, with what is wrong", async () => {
    const home = emptyHome();
    const tool = terminalSession(home, [...SAVE, "--stdin"]);
    await tool.shows(QUESTION);
    tool.type(ENTER);
    await tool.shows(WRONG);
    await tool.shows(QUESTION);
    tool.type(`***************b465${ENTER}`);
    await tool.shows(MASKED);
    await tool.shows(QUESTION);
    expect(await tool.echoes()).toBe(false);
    tool.type(KEY + ENTER);
    expect(await tool.ended).toMatchObject({ code: 0, echoes: true });
    expect(await storedUsers(home)).toEqual(["alice"]);
  });

  it("ends the run after a few times", async () => {
    const tool = terminalSession(emptyHome(), SAVE);
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await tool.shows(QUESTION);
      tool.type(`sk-or-v1-short${attempt}${ENTER}`);
    }
    const { code, screen } = await tool.ended;
    expect([code, screen.includes("short")]).toEqual([2, false]);
    expect(screen).toContain("error: this is not a valid OpenRouter key");
  });

  it.each([
    ["validate", "The key to validate:", "this is not a valid OpenRouter key"],
    ["leaked", "The key that leaked, or its SHA-256:", "this is neither a key nor the SHA-256 of one"],
  ])("is asked for again by %s, and Ctrl-C ends that", async (verb, question, problem) => {
    const tool = terminalSession(emptyHome(), [verb, "--stdin"]);
    await tool.shows(question);
    tool.type(`nonsense${ENTER}`);
    await tool.shows(problem);
    await tool.shows("try again");
    await tool.shows(question);
    tool.type(CTRL_C);
    expect(await tool.ended).toMatchObject({ code: 130, echoes: true });
  });
});

it.each([
  ["save", [...SAVE, "--stdin"]],
  ["validate", ["validate", "--stdin"]],
])("%s --stdin reads no key that a terminal would show, where nobody may be asked", async (_, args) => {
  const tool = terminalSession(emptyHome(), args, { env: { CI: "1" } });
  expect(await tool.ended).toMatchObject({ code: 2, screen: expect.stringContaining("cannot prompt: CI is set") });
});

it.each([
  ["sync", ["sync", "--users-file", "-"], "type user ids, one per line, and end with Ctrl-D", "alice"],
  ["import", ["import", "--csv", "-"], "which this terminal shows, and end with Ctrl-D", `user,key\nalice,${KEY}`],
])("%s says what it awaits from a terminal, and how that ends", async (_, args, words, typed) => {
  const home = emptyHome();
  const tool = terminalSession(home, args, { env: { OPENROUTER_API_KEY: KEY } });
  await tool.shows(words);
  tool.type(`${typed.replaceAll("\n", ENTER)}${ENTER}${CTRL_D}`);
  expect(await tool.ended).toMatchObject({ code: 0, echoes: true });
  expect(await storedUsers(home)).toEqual(["alice"]);
});

it.each([
  [[...SAVE, "--stdin"], 2],
  [["validate", "--stdin"], 2],
  [["leaked", "--stdin"], 3],
  [["sync", "--users-file", "-"], 3],
  [["import", "--csv", "-"], 3],
  [["import", "--jsonl", "-"], 3],
])("says that nothing came where standard input is empty: %j", async (args, code) => {
  const run = await keyctl(emptyHome(), args);
  expect(run.code).toBe(code);
  expect(run.stderr).toMatch(/^error: .*nothing came on standard input/m);
});
