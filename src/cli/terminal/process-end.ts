import { closeSync, fstatSync } from "node:fs";
import { exitCodeOf } from "../exit-codes.ts";
import { isDeviceOfMemory, isTerminal } from "./fd-output.ts";

/**
 * **Invariant:** this file is the only owner of the process's signals. The listeners stay until the process ends:
 * `signal-exit`, which comes with packages, kills a process in which it finds no listener but its own.
 */

/** SIGHUP arrives when a terminal is closed. SIGQUIT would leave a core dump, which holds keys. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;
/**
 * The signals that a command is sent through this process, besides those: the others that would end this process, as far as
 * Node can listen to them. Those of a fault of the process itself (such as SIGSEGV) and real-time signals are left out.
 */
const RELAYED = [
  ...(["SIGUSR1", "SIGUSR2", "SIGTSTP", "SIGCONT", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR"] as const),
  ...(["SIGXCPU", "SIGXFSZ", "SIGTRAP", "SIGSYS", "SIGABRT", "SIGSTKFLT"] as const),
];
/** `timeout` and some versions of npm repeat a signal that the whole process group has received; no person presses Ctrl-C again so soon. */
const REPEAT_MS = 100;

type Listener = (signal: NodeJS.Signals) => void;
type Undo = () => void;
export type AtEnd = (undo: Undo) => Undo;

/** How this process receives signals, and how it ends. */
export interface ProcessEnd {
  /**
   * Calls the listener at the first SIGINT, SIGTERM or SIGHUP. A later SIGINT or SIGTERM ends the process at once, and so does
   * SIGQUIT at any time. A later SIGHUP does not: a terminal that is closed sends several.
   */
  readonly onSignal: (listener: Listener) => void;
  /** Registers the undoing of something that must not outlive the process, however it ends (except by SIGKILL). The result unregisters it. */
  readonly atEnd: AtEnd;
  /**
   * From now on, every signal goes to this listener, the second one too, and ends nothing. The result undoes this.
   */
  readonly relay: (listener: Listener) => Undo;
  /** Ends the process as the signal would without a listener. */
  readonly killSelf: (signal: NodeJS.Signals) => void;
  /** The last step before the exit: runs what is registered, and releases the terminal. */
  readonly leave: () => void;
}

const undos = new Set<Undo>();
let listener: Listener | undefined;
let relayedTo: Listener | undefined;
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
  relay(to) {
    relayedTo = to;
    for (const signal of RELAYED) process.on(signal, to);
    return () => {
      relayedTo = undefined;
      for (const signal of RELAYED) process.removeListener(signal, to);
    };
  },
  killSelf,
  leave() {
    undoAll();
    closeTerminals("all");
  },
};

function hear(signal: NodeJS.Signals): void {
  if (relayedTo !== undefined) relayedTo(signal);
  else if (signal === "SIGQUIT") killSelf("SIGTERM");
  else if (firstHeardAt === undefined) {
    firstHeardAt = performance.now();
    listener?.(signal);
  } else if (signal !== "SIGHUP" && performance.now() - firstHeardAt >= REPEAT_MS) killSelf(signal);
}

function killSelf(signal: NodeJS.Signals): void {
  undoAll();
  for (const name of SIGNALS) process.removeAllListeners(name);
  process.kill(process.pid, signal);
  // The first process of a container ignores signals without a listener.
  process.exit(exitCodeOf({ code: "INTERRUPTED" }, signal));
}

function undoAll(): void {
  for (const undo of undos) {
    undos.delete(undo);
    try {
      undo();
    } catch {
      // The next one must still run.
    }
  }
}

/**
 * At its exit Node resets the modes of its terminals, and aborts with a core dump if one is gone; it leaves closed descriptors
 * alone. A terminal may disappear at any moment until the exit, so closing `all` is safer than closing only those that are `gone`.
 */
function closeTerminals(which: "all" | "gone"): void {
  if (process.platform === "win32") return;
  for (const file of [0, 1, 2]) {
    try {
      const stats = fstatSync(file);
      if (!stats.isCharacterDevice() || isDeviceOfMemory(stats)) continue;
      if (which === "all" || !isTerminal(file)) closeSync(file);
    } catch {
      // It was already closed.
    }
  }
}
