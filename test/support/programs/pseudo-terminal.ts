import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { stripVTControlCharacters } from "node:util";
import type { Home } from "../home/home.ts";
import { BIN } from "./keyctl.ts";

const SCRIPT = "/usr/bin/script";
/** Wide enough that no question is wrapped. */
const COLUMNS = 200;
const LONGEST_MS = 20_000;

export interface Answer {
  /** The text that must be on the screen first. */
  readonly to: string;
  readonly type: string;
}

export interface Session {
  readonly code: number | null;
  /** Everything that was written to the terminal, without control sequences. */
  readonly screen: string;
}

export const ENTER = "\r";
export const CTRL_C = "\u0003";
export const CTRL_T = "\u0014";

/** Runs the built tool on a real terminal and answers its questions when they appear. */
export function onTerminal(
  home: Home,
  args: readonly string[],
  answers: readonly Answer[],
  env: Readonly<Record<string, string>> = {},
): Promise<Session> {
  return programOnTerminal(home, [process.execPath, BIN, ...args], answers, env);
}

/** The same for any program. `script` of util-linux creates the terminal. */
export function programOnTerminal(
  home: Home,
  words: readonly string[],
  answers: readonly Answer[],
  env: Readonly<Record<string, string>>,
): Promise<Session> {
  if (!existsSync(SCRIPT)) throw new Error(`these tests need ${SCRIPT} of util-linux: apt-get install bsdutils`);
  const command = `stty cols ${COLUMNS} rows 24; exec ${words.map(quoted).join(" ")}`;
  const child = spawn(SCRIPT, ["--quiet", "--return", "--command", command, "/dev/null"], {
    cwd: home.work,
    env: { ...home.environment, TERM: "xterm", SHELL: "/bin/sh", ...env },
    stdio: ["pipe", "pipe", "inherit"],
  });
  return new Promise((resolve, reject) => {
    const waiting = [...answers];
    let screen = "";
    let seen = 0;
    const giveUp = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`the tool did not end; its screen:\n${screen}`));
    }, LONGEST_MS);
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      screen += text;
      const [next] = waiting;
      if (next === undefined) return;
      const at = stripVTControlCharacters(screen).indexOf(next.to, seen);
      if (at === -1) return;
      seen = at + next.to.length;
      waiting.shift();
      child.stdin.write(next.type);
    });
    child.on("error", reject).on("close", (code) => {
      clearTimeout(giveUp);
      const unasked = waiting.map(({ to }) => to);
      if (unasked.length > 0) reject(new Error(`never asked: ${unasked.join(", ")}; the screen:\n${screen}`));
      else resolve({ code, screen: stripVTControlCharacters(screen) });
    });
  });
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
