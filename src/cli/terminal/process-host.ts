import type { Input } from "./stdin.ts";
import { fdOutput, isTerminal } from "./fd-output.ts";
import { processEnd } from "./process-end.ts";
import type { ProcessEnd } from "./process-end.ts";
import type { Streams } from "./terminal.ts";
import { sleep, yieldToEventLoop } from "../../core/async/sleep.ts";

const POLL_MS = 10;

/** Everything of the process that the tool uses. */
export interface ProcessHost extends Streams, ProcessEnd {
  readonly argv: readonly string[];
  /** The path that this program was started by. */
  readonly program: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly stdin: () => Input;
  readonly stdinIsTerminal: boolean;
  /** Keeps the system's look-ups of host names from holding up the end of a process that has so little time. */
  readonly shortenDnsTimeout: () => void;
  /** Resolves when no look-up is under way. The process cannot end before, and hears of signals only until it tries to. */
  readonly lookupsEnd: () => Promise<void>;
  /** Collects what nobody holds any more, and lets it end: a process that ends by `process.exit()` does not do so by itself. */
  readonly collectGarbage: () => Promise<void>;
}

/** The process that we are: silences in it what would give a secret away or help nobody. */
export function thisProcess(): ProcessHost {
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
    stdout: fdOutput(1),
    stderr: fdOutput(2),
    shortenDnsTimeout,
    lookupsEnd,
    collectGarbage,
    ...processEnd,
  };
}

/** A name server that is silent holds getaddrinfo for 10 s and more, which no program can stop; glibc reads this at its first look-up. */
function shortenDnsTimeout(): void {
  process.env["RES_OPTIONS"] ??= "timeout:1 attempts:1";
}

/** What is collected is let go of in the turns after that. */
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
 * What Node says at its first use of something, and what nobody can act on: Node 22 calls node:sqlite experimental; and
 * where NODE_TLS_REJECT_UNAUTHORIZED is 0 it says that certificates are not verified, which is not so here. `doctor`
 * names that variable.
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

/** With NODE_DEBUG=stream, Node prints the bytes of all that passes: keys from standard input, master keys from a command. */
function hideBufferContents(): void {
  process.getBuiltinModule("node:buffer").INSPECT_MAX_BYTES = 0;
}
