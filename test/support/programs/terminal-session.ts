import { execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters } from "node:util";
import { onTestFinished } from "vitest";
import type { Home } from "../home/home.ts";
import { BIN } from "./keyctl.ts";

const SCRIPT = "/usr/bin/script";
const CHILD = fileURLToPath(new URL("terminal-session-child.mjs", import.meta.url));
const LONGEST_MS = 60_000;

export const ENTER = "\r";
export const CTRL_C = "\u0003";
export const CTRL_D = "\u0004";
export const CTRL_Z = "\u001A";
export const CTRL_BACKSLASH = "\u001C";

export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Null if the terminal was closed. */
  readonly echoes: boolean | null;
  readonly showsCursor: boolean;
  /** Everything that was written to the terminal, without control sequences. */
  readonly screen: string;
}

/** A tool on a terminal with a size. The test can type, send signals and close the terminal. */
export interface TerminalSession {
  /** Resolves when the tool has started; it may have done nothing yet. */
  readonly started: Promise<{ readonly pid: number }>;
  readonly ended: Promise<Ending>;
  /** Resolves when this text appears after the last awaited text. Rejects if the tool ends without it. */
  shows(text: string): Promise<void>;
  type(text: string): void;
  /** Resolves to false if the tool has ended. */
  send(signal: NodeJS.Signals): Promise<boolean>;
  /** Closes the terminal, like closing its window. */
  hangUp(): void;
  /** Sets modes of the terminal from another process, as a shell does. */
  stty(...settings: readonly string[]): Promise<void>;
  echoes(): Promise<boolean>;
}

export interface SessionOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** The file that replaces the terminal as standard output. */
  readonly stdout?: string;
  /** A program that replaces the built tool. */
  readonly bin?: string;
}

/** Starts the built tool on a terminal of its own, created by `script` of util-linux. */
export function terminalSession(
  home: Home,
  args: readonly string[],
  { env = {}, stdout = "-", bin = BIN }: SessionOptions = {},
): TerminalSession {
  if (!existsSync(SCRIPT)) throw new Error(`these tests need ${SCRIPT} of util-linux: apt-get install bsdutils`);
  const words = [process.execPath, CHILD, stdout, "24", "120", process.execPath, bin, ...args];
  const keyboard = spawn(SCRIPT, ["--quiet", "--command", `exec ${words.map(quoted).join(" ")}`, "/dev/null"], {
    cwd: home.work,
    env: { ...home.environment, TERM: "xterm", SHELL: "/bin/sh", ...env },
    stdio: ["pipe", "pipe", "inherit", "pipe"],
  });
  const { stdin, stdout: shown } = keyboard;
  if (stdin === null || shown === null) throw new Error("a pipe is missing");
  // Typing into a closed terminal fails; that is ignored.
  stdin.on("error", () => {});
  const screen = new Screen();
  shown.setEncoding("utf8").on("data", (text: string) => screen.add(text));
  // The child writes two lines.
  const news = newsFrom(keyboard.stdio[3] as Readable);
  const started = news.first as Promise<Start>;
  const closed = new Promise((resolve) => shown.on("close", resolve));
  const ended = (async () => {
    const { code, signal, modes } = (await news.last) as End;
    await closed;
    screen.end();
    const echoes = modes === null ? null : areCooked(modes);
    return { code, signal, echoes, showsCursor: screen.showsCursor, screen: screen.text };
  })();
  const giveUp = async () => {
    wasSent((await started).pid, "SIGKILL");
    keyboard.kill("SIGKILL");
  };
  let isOver = false;
  const timer = setTimeout(giveUp, LONGEST_MS);
  const finish = () => {
    isOver = true;
    clearTimeout(timer);
  };
  ended.then(finish, finish);
  onTestFinished(async () => {
    if (!isOver) await giveUp();
  });
  return {
    started,
    ended,
    shows: (text) => screen.shows(text),
    type: (text) => void stdin.write(text),
    send: async (signal) => wasSent((await started).pid, signal),
    hangUp: () => void keyboard.kill("SIGKILL"),
    async stty(...settings) {
      execFileSync("stty", ["-F", (await started).terminal, ...settings]);
    },
    async echoes() {
      return areCooked(execFileSync("stty", ["-F", (await started).terminal, "-a"]).toString());
    },
  };
}

interface Start {
  readonly pid: number;
  readonly terminal: string;
}

interface End {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly modes: string | null;
}

class Screen {
  #raw = "";
  #seen = 0;
  #hasEnded = false;
  #look: () => void = () => {};

  add(text: string): void {
    this.#raw += text;
    this.#look();
  }

  end(): void {
    this.#hasEnded = true;
    this.#look();
  }

  get text(): string {
    return stripVTControlCharacters(this.#raw);
  }

  get showsCursor(): boolean {
    return this.#raw.lastIndexOf("\u001B[?25l") <= this.#raw.lastIndexOf("\u001B[?25h");
  }

  shows(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#look = () => {
        const at = this.text.indexOf(text, this.#seen);
        if (at !== -1) {
          this.#seen = at + text.length;
          this.#look = () => {};
          resolve();
        } else if (this.#hasEnded) reject(new Error(`never shown: ${text}; the screen:\n${this.text}`));
      };
      this.#look();
    });
  }
}

/** The two lines that the child writes. */
function newsFrom(stream: Readable): { readonly first: Promise<unknown>; readonly last: Promise<unknown> } {
  const lines = createInterface({ input: stream })[Symbol.asyncIterator]();
  const next = async () => {
    const line = await lines.next();
    if (line.done === true) throw new Error("the terminal ended without a word of its program");
    return JSON.parse(line.value) as unknown;
  };
  const first = next();
  const second = async () => {
    await first;
    return next();
  };
  return { first, last: second() };
}

function wasSent(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}

/** Whether `echo` and `icanon` are both set, as in a terminal that no prompt has changed. */
function areCooked(modes: string): boolean {
  return / echo\b/.test(modes) && / icanon\b/.test(modes);
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
