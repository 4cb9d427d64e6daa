import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { storedUsers } from "../support/sqlite/database.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { inProcess } from "../support/programs/in-process.ts";
import { KEY } from "../support/fixtures/keys.ts";
import { CTRL_C, CTRL_D, CTRL_Z, ENTER, terminalSession } from "../support/programs/terminal-session.ts";
import type { TerminalSession } from "../support/programs/terminal-session.ts";

const WAYS = [
  ["Ctrl-C", 130, (tool: TerminalSession) => tool.type(CTRL_C)],
  ["Ctrl-C and more", 130, (tool: TerminalSession) => tool.type(`${KEY}${CTRL_C}y${ENTER}`)],
  ["Ctrl-D", 130, (tool: TerminalSession) => tool.type(CTRL_D)],
  ["SIGINT", 130, (tool: TerminalSession) => tool.send("SIGINT")],
  ["SIGTERM", 143, (tool: TerminalSession) => tool.send("SIGTERM")],
  ["SIGHUP", 143, (tool: TerminalSession) => tool.send("SIGHUP")],
  ["the end of the terminal", 143, (tool: TerminalSession) => tool.hangUp()],
] as const;

const SAVE = ["save", "--user", "alice"];
const SECRET = "OpenRouter key of alice: (not shown)";
const PURGE = ["purge", "--user", "alice"];
const QUESTION = "Delete the key of alice (***************b465, from manual)? (y/N)";

async function homeOf(...users: readonly string[]): Promise<Home> {
  const home = emptyHome();
  for (const user of users) await inProcess(home, ["save", "--user", user, "--stdin"], { input: KEY });
  return home;
}

describe("a hidden prompt", () => {
  it.each(WAYS)("ends at %s with %i; the terminal echoes again, and nothing is saved", async (name, code, act) => {
    const home = emptyHome();
    const tool = terminalSession(home, SAVE);
    await tool.shows(SECRET);
    expect(await tool.echoes()).toBe(false);
    await act(tool);
    const { screen, ...ending } = await tool.ended;
    const gone = name === "the end of the terminal";
    expect(ending).toEqual({ code, signal: null, echoes: gone ? null : true, showsCursor: true });
    if (!gone) expect(screen).toContain("error: interrupted");
    expect((await inProcess(home, ["list"])).stderr).toContain("no store exists yet");
  });

  it("hears of a signal soon, however much is pasted into it", async () => {
    const tool = terminalSession(emptyHome(), SAVE);
    await tool.shows(SECRET);
    for (let pasted = 0; pasted < 28; pasted += 1) tool.type("x".repeat(1000));
    await sleep(100);
    const began = performance.now();
    await tool.send("SIGTERM");
    expect(await tool.ended).toMatchObject({ code: 143, echoes: true });
    expect(performance.now() - began).toBeLessThan(10_000);
  });

  it.each(["SIGINT", "SIGTERM"] as const)("leaves a terminal that echoes when %s comes twice", async (signal) => {
    const tool = terminalSession(emptyHome(), SAVE);
    await tool.shows(SECRET);
    await Promise.all([tool.send(signal), tool.send(signal)]);
    const { echoes, showsCursor } = await tool.ended;
    expect({ echoes, showsCursor }).toEqual({ echoes: true, showsCursor: true });
  });

  it("hides what is typed after it was stopped and resumed by somebody who has set the terminal's modes", async () => {
    const home = emptyHome();
    const tool = terminalSession(home, SAVE);
    await tool.shows(SECRET);
    await tool.send("SIGSTOP");
    await tool.stty("sane");
    expect(await tool.echoes()).toBe(true);
    await tool.send("SIGCONT");
    await tool.shows(SECRET);
    expect(await tool.echoes()).toBe(false);
    tool.type(KEY + ENTER);
    const { code, screen } = await tool.ended;
    expect(code).toBe(0);
    expect(screen).not.toContain("0000");
    expect(await storedUsers(home)).toEqual(["alice"]);
  });

  it("goes on after Ctrl-Z where no shell could resume it", async () => {
    const home = emptyHome();
    const tool = terminalSession(home, SAVE);
    await tool.shows(SECRET);
    tool.type(CTRL_Z);
    await tool.shows(SECRET);
    expect(await tool.echoes()).toBe(false);
    tool.type(KEY + ENTER);
    expect(await tool.ended).toMatchObject({ code: 0, echoes: true });
    expect(await storedUsers(home)).toEqual(["alice"]);
  });
});

describe("a question", () => {
  it.each(WAYS)("ends at %s with %i and changes nothing", async (name, code, act) => {
    const home = await homeOf("alice");
    const tool = terminalSession(home, PURGE);
    await tool.shows(QUESTION);
    await act(tool);
    const gone = name === "the end of the terminal";
    expect(await tool.ended).toMatchObject({ code, signal: null, echoes: gone ? null : true, showsCursor: true });
    expect(await storedUsers(home)).toEqual(["alice"]);
  });

  it("is not answered by what was typed before it was asked", async () => {
    const home = await homeOf("alice");
    const tool = terminalSession(home, PURGE);
    await tool.started;
    tool.type(`y${ENTER}y`);
    await tool.shows(QUESTION);
    await sleep(300);
    tool.type(ENTER);
    expect(await tool.ended).toMatchObject({ code: 2, screen: expect.stringContaining("note: nothing was changed") });
    expect(await storedUsers(home)).toEqual(["alice"]);
  });

  it("has the terminal for itself, however long it waits", async () => {
    const home = await homeOf("alice", "bob");
    const tool = terminalSession(home, ["purge", "--user", "alice", "--user", "bob", "--output", "out"]);
    await tool.shows("Delete 2 keys of 2 users");
    await sleep(1500);
    tool.type(`y${ENTER}`);
    const { code, screen } = await tool.ended;
    expect(code).toBe(0);
    const before = screen.slice(0, screen.indexOf("(y/N) y"));
    expect(before).toMatch(/^\? Delete 2 keys of 2 users/);
    expect(before).not.toContain("purge:");
    expect(await storedUsers(home)).toEqual([]);
  });
});
