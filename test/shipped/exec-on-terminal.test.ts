import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { CANARIES } from "../support/fixtures/leak-canaries.ts";
import { emptyHome } from "../support/home/home.ts";
import type { Home } from "../support/home/home.ts";
import { BIN, keyctl } from "../support/programs/keyctl.ts";
import { CTRL_BACKSLASH, CTRL_C, CTRL_Z, ENTER, terminalSession } from "../support/programs/terminal-session.ts";

const CHILD = fileURLToPath(new URL("../support/programs/signalled-child.mjs", import.meta.url));
const EXEC = ["exec", "-u", "alice", "-q", "--"];
/** Longer than a signal to keyctl alone waits before it is passed on. */
const WAIT_MS = 500;

async function homeOfAlice(): Promise<Home> {
  const home = emptyHome();
  await keyctl(home, ["save", "-u", "alice", "--stdin"], { input: CANARIES.key });
  return home;
}

function timesShown(screen: string, text: string): number {
  return screen.split(text).length - 1;
}

describe("exec on a terminal", () => {
  it("gives its command the terminal itself, with its size, its modes and what is typed", async () => {
    const home = await homeOfAlice();
    const words = [
      "sh",
      "-c",
      "test -t 0 && test -t 1 && test -t 2 && stty size && stty -echo && echo now && read line && echo got $line",
    ];
    const tool = terminalSession(home, [...EXEC, ...words]);
    await tool.shows("24 120");
    await tool.shows("now");
    tool.type(`typed${ENTER}`);
    const { code, screen, echoes } = await tool.ended;
    // The command left the terminal without echo, and keyctl does not touch that.
    expect([code, timesShown(screen, "typed"), echoes]).toEqual([0, 1, false]);
  });

  it("lets Ctrl-C and Ctrl-\\ reach its command once each, and passes on what is sent to it alone", async () => {
    const tool = terminalSession(await homeOfAlice(), [...EXEC, process.execPath, CHILD]);
    await tool.shows("ready");
    tool.type(CTRL_C);
    await tool.shows("got SIGINT;");
    await sleep(WAIT_MS);
    tool.type(CTRL_C);
    await tool.shows("got SIGINT;");
    await sleep(WAIT_MS);
    await tool.send("SIGINT");
    await tool.shows("got SIGINT;");
    tool.type(CTRL_BACKSLASH);
    await tool.shows("got SIGQUIT;");
    await sleep(WAIT_MS);
    await tool.send("SIGTERM");
    await tool.shows("got SIGTERM;");
    tool.type(`end 9${ENTER}`);
    const { code, signal, screen } = await tool.ended;
    const counts = ["SIGINT", "SIGQUIT", "SIGTERM"].map((name) => timesShown(screen, `got ${name};`));
    expect([code, signal, counts]).toEqual([9, null, [3, 1, 1]]);
    expect(screen).not.toContain("keyctl");
  });

  it("ends with its command when Ctrl-C ends that, and lets one that ignores it go on", async () => {
    const home = await homeOfAlice();
    const ends = terminalSession(home, [...EXEC, "sh", "-c", "echo on; exec sleep 60"]);
    await ends.shows("on");
    ends.type(CTRL_C);
    expect(await ends.ended).toMatchObject({ code: 130, signal: null });
    const ignores = terminalSession(home, [...EXEC, "sh", "-c", "trap '' INT; echo on; read line; exit 3"]);
    await ignores.shows("on");
    ignores.type(CTRL_C);
    await sleep(WAIT_MS);
    ignores.type(ENTER);
    expect(await ignores.ended).toMatchObject({ code: 3, signal: null });
  });

  it("does not outlive its command when the terminal is closed", async () => {
    const tool = terminalSession(await homeOfAlice(), [...EXEC, "sh", "-c", "echo on; exec sleep 60"]);
    await tool.shows("on");
    tool.hangUp();
    expect(await tool.ended).toMatchObject({ code: 129, signal: null });
  });

  it("stops with Ctrl-Z, the shell's prompt comes back, and `fg` continues the command and keyctl", async () => {
    const home = await homeOfAlice();
    const bash = fileURLToPath(new URL("../support/programs/bash-child.mjs", import.meta.url));
    const tool = terminalSession(home, [], { bin: bash, env: { PS1: "prompt$ " } });
    await tool.shows("prompt$ ");
    tool.type(`'${process.execPath}' '${BIN}' ${EXEC.join(" ")} '${process.execPath}' '${CHILD}'${ENTER}`);
    await tool.shows("ready ");
    tool.type(CTRL_Z);
    await tool.shows("Stopped");
    await tool.shows("prompt$ ");
    tool.type(`jobs -p${ENTER}`);
    await tool.shows("prompt$ ");
    const { stdout } = await execa("ps", ["-e", "-o", "stat=,args="]);
    const states = stdout.split("\n").filter((line) => line.includes(CHILD) && line.includes(process.execPath));
    expect(states.map((line) => line[0])).toEqual(["T", "T"]);
    tool.type(`fg${ENTER}`);
    await tool.shows("continued;");
    tool.type(CTRL_C);
    await tool.shows("got SIGINT;");
    await sleep(WAIT_MS);
    tool.type(`end 6${ENTER}`);
    await tool.shows("prompt$ ");
    tool.type(`echo "code $?"${ENTER}`);
    await tool.shows("code 6");
    tool.type(`exit${ENTER}`);
    const { screen } = await tool.ended;
    expect(timesShown(screen, "got SIGINT;")).toBe(1);
  });
});
