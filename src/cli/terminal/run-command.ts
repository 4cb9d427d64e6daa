import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { codeOf } from "../../files/system-error.ts";
import type { ProcessEnd } from "./process-end.ts";
import { whyNotStarted } from "./why-not-started.ts";
import type { NotStarted } from "./why-not-started.ts";

/**
 * **Invariant:** each signal reaches the child once. The child is in the process group of this process, so that a terminal
 * reaches it and can stop and continue it. A signal that was sent to the whole group is therefore there already, and only
 * a signal to this process alone is passed on. Node does not say which it was: a witness in the group dies of the former.
 */

export type CommandEnd = { readonly kind: "ended"; readonly exitCode: number } | NotStarted;

type Environment = Readonly<Record<string, string | undefined>>;

/** A signal to the group reaches all of its processes at once; a busy machine reports the death of the witness later. */
const WITNESS_MS = 250;
/** A process that is stopped by a signal stops before this time is over, and continues with it. */
const STOP_MS = 50;
const SIGNAL_BASE = 128;

/** Runs a command with the streams of this process, and with the exit codes of shells: 126, 127, 128 + n. */
export async function runAttached(
  [file = "", ...words]: readonly string[],
  environment: Environment,
  relay: ProcessEnd["relay"],
): Promise<CommandEnd> {
  const notStarted = (systemCode: string) => whyNotStarted(file, systemCode, environment["PATH"]);
  let child: ChildProcess | undefined;
  let witness: Witness | undefined;
  // From before the start: a signal that comes early would end this process alone.
  const stop = relay((signal) => void (child !== undefined && witness !== undefined && passOn(signal, child, witness)));
  try {
    if (file === "") return notStarted("ENOENT");
    const started = (child = spawn(file, words, { env: environment, stdio: "inherit" }));
    if (started.pid === undefined)
      return await new Promise((resolve) => started.once("error", (e) => resolve(notStarted(codeOf(e)))));
    witness = new Witness();
    return await new Promise((resolve) =>
      started.once("exit", (code, signal) => resolve({ kind: "ended", exitCode: exitCodeOfChild(code, signal) })),
    );
  } catch (thrown) {
    // Node throws some errors of a start, and reports others.
    return notStarted(codeOf(thrown));
  } finally {
    stop();
    witness?.close();
  }
}

/** Node reports the end by a real-time signal as the exit code 0, exactly as a success. */
function exitCodeOfChild(code: number | null, signal: NodeJS.Signals | null): number {
  if (signal === null) return code ?? 1;
  return SIGNAL_BASE + process.getBuiltinModule("node:os").constants.signals[signal];
}

async function passOn(signal: NodeJS.Signals, child: ChildProcess, witness: Witness): Promise<void> {
  // A console of Windows reaches all of its processes, and a signal from here would end the child at once.
  if (process.platform === "win32") return;
  if (signal === "SIGTSTP") return stopBoth(child);
  if (signal === "SIGCONT") {
    child.kill(signal);
    return witness.continue();
  }
  if (!(await witness.hasDiedOf(signal))) child.kill(signal);
}

/** A second SIGTSTP is harmless: a process that stopped forgets it when it continues. */
function stopBoth(child: ChildProcess): void {
  child.kill("SIGTSTP");
  // As without a listener: in a group that no shell watches, the system ignores it.
  const listeners = process.listeners("SIGTSTP");
  process.removeAllListeners("SIGTSTP");
  process.kill(process.pid, "SIGTSTP");
  setTimeout(() => {
    for (const listener of listeners) process.on("SIGTSTP", listener);
  }, STOP_MS);
}

/** A process of this group that waits for the end of its input, and that every signal kills. */
class Witness {
  #process: ChildProcess | undefined;
  /** The signals of which witnesses died and that have not reached this process yet. */
  readonly #deaths = new Map<NodeJS.Signals, number>();
  readonly #waiting = new Set<() => void>();
  #isClosed = false;

  constructor() {
    this.#start();
  }

  /** Whether a signal that has reached this process was sent to its whole group. */
  async hasDiedOf(signal: NodeJS.Signals): Promise<boolean> {
    const until = performance.now() + WITNESS_MS;
    while (!this.#take(signal)) {
      const left = until - performance.now();
      if (left <= 0 || this.#process === undefined) return false;
      await this.#nextDeath(left);
    }
    return true;
  }

  continue(): void {
    this.#process?.kill("SIGCONT");
  }

  close(): void {
    this.#isClosed = true;
    this.#process?.kill("SIGKILL");
  }

  /** Without `cat` there is no witness, and every signal is passed on. */
  #start(): void {
    try {
      const witness = spawn("cat", [], { env: { PATH: process.env["PATH"] }, stdio: ["pipe", "ignore", "ignore"] });
      this.#process = witness;
      witness.on("error", () => (this.#process = undefined));
      witness.stdin.on("error", () => {});
      witness.on("exit", (_, signal) => this.#hasDied(signal));
      witness.unref();
    } catch {
      this.#process = undefined;
    }
  }

  #hasDied(signal: NodeJS.Signals | null): void {
    if (this.#isClosed) return;
    if (signal !== null) this.#deaths.set(signal, performance.now());
    this.#start();
    for (const wake of this.#waiting) wake();
  }

  /** One death is evidence for one signal that came at about that time. */
  #take(signal: NodeJS.Signals): boolean {
    const at = this.#deaths.get(signal);
    this.#deaths.delete(signal);
    return at !== undefined && performance.now() - at < WITNESS_MS;
  }

  #nextDeath(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.#waiting.add(wake);
    });
  }
}
