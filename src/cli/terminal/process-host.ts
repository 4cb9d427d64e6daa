import type { Input } from "./stdin.ts";
import { fdOutput, isTerminal } from "./fd-output.ts";
import { processEnd } from "./process-end.ts";
import type { CommandEnd } from "./run-command.ts";
import type { ProcessEnd } from "./process-end.ts";
import type { Streams } from "./terminal.ts";
import { isCi } from "../../core/model/ci.ts";
import { sleep, yieldToEventLoop } from "../../core/async/sleep.ts";

const POLL_MS = 10;

/** Everything that the tool uses of the process. */
export interface ProcessHost extends Streams, Omit<ProcessEnd, "relay"> {
  readonly argv: readonly string[];
  /** The path with which this program was started. */
  readonly program: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly stdin: () => Input;
  readonly stdinIsTerminal: boolean;
  /** Whether a line of a terminal may change in place. A log that CI keeps shows every state of it. */
  readonly animates: boolean;
  /** Keeps the system's DNS look-ups from delaying the end of a process with so little time. */
  readonly shortenDnsTimeout: () => void;
  /** Resolves when no DNS look-up is under way. The process cannot end before, and handles no signals once it is ending. */
  readonly lookupsEnd: () => Promise<void>;
  /** For a run of any length: memory that V8 would take to save itself collections. */
  readonly boundMemory: () => void;
  /** Runs a command with the streams of this process, and passes signals on to it. */
  readonly runCommand: (
    words: readonly string[],
    environment: Readonly<Record<string, string | undefined>>,
  ) => Promise<CommandEnd>;
  /** Collects garbage and runs finalizers, which `process.exit()` skips. */
  readonly collectGarbage: () => Promise<void>;
}

/**
 * This process, with output silenced that would reveal a secret or help nobody.
 * @param atItsEnd undoes what was done before
 */
export function thisProcess(atItsEnd?: () => void): ProcessHost {
  if (atItsEnd !== undefined) processEnd.atEnd(atItsEnd);
  silenceWarnings();
  hideBufferContents();
  return {
    argv: process.argv.slice(2),
    program: process.argv[1] ?? "",
    environment: process.env,
    stdin: () => process.stdin,
    get stdinIsTerminal() {
      return isTerminal(0);
    },
    animates: process.env["TERM"] !== "dumb" && !isCi(process.env),
    stdout: fdOutput(1),
    stderr: fdOutput(2),
    shortenDnsTimeout,
    lookupsEnd,
    boundMemory,
    collectGarbage,
    runCommand: async (words, environment) =>
      (await import("./run-command.ts")).runAttached(words, environment, processEnd.relay),
    ...processEnd,
  };
}

/** A silent name server blocks getaddrinfo for 10 s and more, and a program cannot cancel it; glibc reads this at its first look-up. */
function shortenDnsTimeout(): void {
  process.env["RES_OPTIONS"] ??= "timeout:1 attempts:1";
}

/**
 * In a long run V8 lets the space of its young objects grow to 48 MB, for which nothing gets faster here: a list of a
 * million rows would take a third more memory than one of ten thousand.
 */
function boundMemory(): void {
  process.getBuiltinModule("node:v8").setFlagsFromString("--semi-space-growth-factor=1");
}

/** Finalizers run in the turns after the collection. */
async function collectGarbage(): Promise<void> {
  process.getBuiltinModule("node:v8").setFlagsFromString("--expose-gc");
  const collect: unknown = process.getBuiltinModule("node:vm").runInNewContext("gc");
  if (typeof collect === "function") collect();
  await yieldToEventLoop();
}

async function lookupsEnd(): Promise<void> {
  while (process.getActiveResourcesInfo().includes("GetAddrInfoReqWrap")) {
    await sleep(POLL_MS);
  }
}

/**
 * Warnings of Node that are not useful here: Node 22 calls node:sqlite experimental; and with NODE_TLS_REJECT_UNAUTHORIZED=0
 * it warns that certificates are not verified, but keyctl verifies them. `doctor` names that variable.
 */
const SILENCED = [
  "SQLite is an experimental feature",
  "Setting the NODE_TLS_REJECT_UNAUTHORIZED environment variable to '0'",
];

function silenceWarnings(): void {
  const emitWarning = process.emitWarning.bind(process);
  const filtered = (warning: string | Error, ...rest: unknown[]) => {
    if (!SILENCED.some((beginning) => String(warning).startsWith(beginning)))
      Reflect.apply(emitWarning, process, [warning, ...rest]);
  };
  process.emitWarning = filtered;
}

/** With NODE_DEBUG=stream, Node prints the bytes of all streams: keys from standard input, master keys from a command. */
function hideBufferContents(): void {
  process.getBuiltinModule("node:buffer").INSPECT_MAX_BYTES = 0;
}
