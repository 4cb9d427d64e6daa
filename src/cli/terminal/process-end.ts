import { closeSync, fstatSync } from "node:fs";
import { exitCodeOf } from "../exit-codes.ts";
import { isDeviceOfMemory, isTerminal } from "./fd-output.ts";

/**
 * **Invariant:** a process has one owner of its signals, and that is this file. The listeners stay until the process is
 * gone: `signal-exit`, which packages bring, kills a process in which it finds no listener but its own.
 */

/** SIGHUP comes when a terminal is closed. SIGQUIT would leave a core, and a core holds keys. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;
/** `timeout` and some versions of npm send on what the whole group has got already; nobody presses Ctrl-C again so soon. */
const REPEAT_MS = 100;

type Listener = (signal: NodeJS.Signals) => void;
type Undo = () => void;
export type AtEnd = (undo: Undo) => Undo;

/** How this process hears of signals, and how it ends. */
export interface ProcessEnd {
  /**
   * Calls the listener at the first SIGINT, SIGTERM or SIGHUP. A later SIGINT or SIGTERM ends the process at once, and
   * so does SIGQUIT at any time. A later SIGHUP does not: a terminal that is closed sends several, with nobody there.
   */
  readonly onSignal: (listener: Listener) => void;
  /** Keeps what must not outlive the process, however it ends (SIGKILL excepted). The result takes it back. */
  readonly atEnd: AtEnd;
  /** Ends the process as the signal would have without a listener. */
  readonly killSelf: (signal: NodeJS.Signals) => void;
  /** The last thing before the exit: undoes what is kept, and lets go of the terminal. */
  readonly leave: () => void;
}

const undos = new Set<Undo>();
let listener: Listener | undefined;
let firstHeardAt: number | undefined;

export const processEnd: ProcessEnd = {
  onSignal(newListener) {
    if (listener === undefined) {
      for (const signal of SIGNALS) process.on(signal, hear);
      process.on("exit", () => {
        undoAll();
        closeTerminals("gone");
      });
    }
    listener = newListener;
  },
  atEnd(undo) {
    undos.add(undo);
    return () => void undos.delete(undo);
  },
  killSelf,
  leave() {
    undoAll();
    closeTerminals("all");
  },
};

function hear(signal: NodeJS.Signals): void {
  if (signal === "SIGQUIT") killSelf("SIGTERM");
  else if (firstHeardAt === undefined) {
    firstHeardAt = performance.now();
    listener?.(signal);
  } else if (signal !== "SIGHUP" && performance.now() - firstHeardAt >= REPEAT_MS) killSelf(signal);
}

function killSelf(signal: NodeJS.Signals): void {
  undoAll();
  for (const name of SIGNALS) process.removeAllListeners(name);
  process.kill(process.pid, signal);
  // The first process of a container is spared by signals that it does not listen to.
  process.exit(exitCodeOf({ code: "INTERRUPTED" }, signal));
}

function undoAll(): void {
  for (const undo of undos) {
    undos.delete(undo);
    try {
      undo();
    } catch {
      // The next one is due all the same.
    }
  }
}

/**
 * At its exit Node sets the modes of its terminals, and aborts with a core where one is gone; what is closed it leaves
 * alone. A terminal may go at any moment until then, so that closing only those that are gone is the second best.
 */
function closeTerminals(which: "all" | "gone"): void {
  if (process.platform === "win32") return;
  for (const file of [0, 1, 2]) {
    try {
      const stats = fstatSync(file);
      if (!stats.isCharacterDevice() || isDeviceOfMemory(stats)) continue;
      if (which === "all" || !isTerminal(file)) closeSync(file);
    } catch {
      // It was closed before.
    }
  }
}
