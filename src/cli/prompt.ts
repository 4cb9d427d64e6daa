import { createInterface } from "node:readline";
import type { Interface } from "node:readline";
import { isKeyctlError, KeyctlError } from "../core/errors.ts";
import { isTerminal } from "./output.ts";
import { turnOfTheEventLoop } from "./runner.ts";
import { waitForHangUp } from "./terminal/hang-up.ts";
import type { AtEnd } from "./terminal/process-end.ts";

/** Asks on stderr, so that stdout stays for results. Rejects with INTERRUPTED on Ctrl-C, Ctrl-D and every signal. */
export interface Prompt {
  readonly confirm: (question: string) => Promise<boolean>;
  readonly secret: (question: string) => Promise<string>;
  readonly text: (question: string) => Promise<string>;
}

const CLEAR_LINE = "\r\u001B[K";

export function promptOnStderr(signal: AbortSignal, atEnd: AtEnd): Prompt {
  const answer = (question: string, isHidden = false) => answerTo({ question, isHidden, signal, atEnd });
  return {
    confirm: async (question) => /^\s*y(es)?\s*$/i.test(await answer(`${question} (y/N) `)),
    secret: (question) => answer(`${question} (not shown) `, true),
    text: (question) => answer(`${question} `),
  };
}

interface Asking {
  readonly question: string;
  /** What is typed is not shown. */
  readonly isHidden: boolean;
  readonly signal: AbortSignal;
  readonly atEnd: AtEnd;
}

async function answerTo(asking: Asking): Promise<string> {
  asking.signal.throwIfAborted();
  try {
    return await ask(asking);
  } catch (thrown) {
    // Whatever fails on a terminal that is gone fails for that reason.
    if (isKeyctlError(thrown) || isTerminal(0)) throw thrown;
    await waitForHangUp(asking.signal);
    throw inputEnded();
  }
}

async function ask({ question, isHidden, signal, atEnd }: Asking): Promise<string> {
  const { stdin, stderr } = process;
  // To set the mode of a terminal that is gone fails, also when nobody reads it any more.
  if (stdin.listenerCount("error") === 0) stdin.on("error", () => {});
  const shown = isHidden ? {} : { output: stderr };
  const lines = createInterface({ input: stdin, terminal: true, historySize: 0, prompt: question, ...shown });
  const forgetMode = atEnd(() => stdin.setRawMode(false));
  const show = () => {
    if (isHidden) stderr.write(`${CLEAR_LINE}${question}`);
    else lines.prompt(true);
  };
  const stopResuming = onResume(lines, () => {
    // The shell may have set another mode meanwhile, of which Node knows nothing.
    stdin.setRawMode(false);
    stdin.setRawMode(true);
    show();
  });
  let isLineEnded = false;
  try {
    const answer = await lineFrom(lines, signal, show);
    isLineEnded = !isHidden;
    return answer;
  } finally {
    stopResuming();
    lines.close();
    forgetMode();
    if (!isLineEnded) stderr.write("\n");
  }
}

/** The first line that is entered after the question is shown. */
function lineFrom(lines: Interface, signal: AbortSignal, show: () => void): Promise<string> {
  return new Promise((resolve, reject) => {
    let isAsked = false;
    let isInterrupted = false;
    let hasEnded = false;
    const abort = () => reject(signal.reason);
    const end = () => {
      if (hasEnded) return;
      hasEnded = true;
      signal.removeEventListener("abort", abort);
      const isSignalled = isInterrupted || !isTerminal(0);
      const wait = isSignalled ? waitForHangUp(signal) : Promise.resolve();
      wait.then(() => reject(inputEnded()), reject);
    };
    const begin = () => {
      if (hasEnded) return;
      // What was typed before there was a question answers nothing.
      if (lines.line !== "") {
        lines.write(null, { ctrl: true, name: "e" });
        lines.write(null, { ctrl: true, name: "u" });
      }
      isAsked = true;
      show();
    };
    signal.addEventListener("abort", abort, { once: true });
    // To close it fails as well where the terminal is gone, and comes here again.
    lines.on("error", end).on("close", end);
    lines.on("line", (text) => {
      if (isAsked) resolve(text);
    });
    lines.on("SIGINT", () => {
      isInterrupted = true;
      // What is typed after it answers nothing either.
      lines.close();
      process.kill(process.pid, "SIGINT");
    });
    turnOfTheEventLoop().then(begin, reject);
  });
}

/** Stops at Ctrl-Z as the terminal would have it, and calls this when the process goes on, whoever stopped it. */
function onResume(lines: Interface, resume: () => void): () => void {
  lines.on("SIGTSTP", () => {
    process.stdin.setRawMode(false);
    process.kill(0, "SIGTSTP");
    // It is ignored where nobody could resume us; then there is no SIGCONT either.
    resume();
  });
  process.on("SIGCONT", resume);
  return () => void process.off("SIGCONT", resume);
}

function inputEnded(): KeyctlError {
  return new KeyctlError("INTERRUPTED", "interrupted: the input of the terminal has ended");
}
