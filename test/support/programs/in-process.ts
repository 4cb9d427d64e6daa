import { PassThrough } from "node:stream";
import type { Readable } from "node:stream";
import { main } from "../../../src/main.ts";
import type { Host } from "../../../src/main.ts";
import type { Home } from "../home/home.ts";
import { BIN, logOf } from "./keyctl.ts";
import type { Run } from "./keyctl.ts";

const HERE = process.cwd();
/** The home that a run is in. */
let entered: string | undefined;

export interface InProcessOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** What standard input gives; nothing by default. */
  readonly input?: string | Uint8Array | AsyncIterable<Uint8Array>;
  /** The width of the terminal that stdout and stderr are; pipes by default. Nobody is there to answer a question. */
  readonly columns?: number;
  /** May run while others do: in the working directory of the tests, and not in that of its home. */
  readonly besideOthers?: true;
  /** Sees each piece of stdout as it is written, and may refuse it by throwing. */
  readonly onStdout?: (text: string) => void | Promise<void>;
  readonly around?: Host["around"];
}

/** Runs the whole tool in this process, from the sources: as `keyctl`, without the start of a Node. One at a time: it sets the working directory. */
export async function inProcess(home: Home, args: readonly string[], options: InProcessOptions = {}): Promise<Run> {
  const { columns, onStdout, around } = options;
  let stdout = "";
  let stderr = "";
  const isAlone = options.besideOthers !== true;
  if (isAlone && entered !== undefined) {
    throw new Error(`a run in ${entered} is under way in this process, whose working directory it has set`);
  }
  if (isAlone) {
    entered = home.work;
    process.chdir(home.work);
  }
  try {
    const code = await main({
      argv: args,
      program: BIN,
      environment: { ...home.environment, ...options.env },
      stdin: () => inputOf(options.input ?? ""),
      stdinIsTerminal: false,
      stdout: {
        async write(text) {
          await onStdout?.(text);
          stdout += text;
        },
        columns,
        isOpen: true,
        isBlocked: false,
        drained: async () => {},
      },
      stderr: {
        async write(text) {
          stderr += text;
        },
        columns,
        isOpen: true,
        isBlocked: false,
        drained: async () => {},
      },
      onSignal: () => {},
      atEnd: () => () => {},
      killSelf: () => {},
      leave: () => {},
      shortenDnsTimeout: () => {},
      lookupsEnd: async () => {},
      collectGarbage: async () => {},
      around,
    });
    return { code, signal: undefined, stdout, stderr, log: logOf(stderr) };
  } finally {
    if (isAlone) {
      entered = undefined;
      // The home goes with the test, and no program can be started in a folder that is gone.
      process.chdir(HERE);
    }
  }
}

/** The JSON documents on stdout. */
export function documentsOf(run: Pick<Run, "stdout">): readonly Record<string, unknown>[] {
  return run.stdout
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** The error that a run with --json ended with: it is in the last document. */
export function errorOf(run: Pick<Run, "stdout">): ErrorFields | null {
  return (documentsOf(run).at(-1)?.["error"] ?? null) as ErrorFields | null;
}

export interface ErrorFields {
  readonly code: string;
  readonly exit_code: number;
  readonly message: string;
  readonly hint: string | null;
  readonly retryable: boolean;
}

/** A stream, and not the chunks themselves: letting go of it must end a read that is waiting. */
function inputOf(input: string | Uint8Array | AsyncIterable<Uint8Array>): Readable {
  const chunks = typeof input === "string" || input instanceof Uint8Array ? [Buffer.from(input)] : input;
  const stream = new PassThrough();
  void (async () => {
    for await (const chunk of chunks) if (chunk.length > 0) stream.write(chunk);
    stream.end();
  })();
  return stream;
}
