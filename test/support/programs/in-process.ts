import { PassThrough } from "node:stream";
import type { Readable } from "node:stream";
import { main } from "../../../src/main.ts";
import type { Host } from "../../../src/main.ts";
import type { Home } from "../home/home.ts";
import { BIN, logOf } from "./keyctl.ts";
import type { Run } from "./keyctl.ts";

const HERE = process.cwd();
/** The home of the current run. */
let entered: string | undefined;

export interface InProcessOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** The content of standard input; empty by default. */
  readonly input?: string | Uint8Array | AsyncIterable<Uint8Array>;
  /** The width of the terminal on stdout and stderr; by default, both are pipes. Questions are not answered. */
  readonly columns?: number;
  /** The run may overlap with others: it uses the working directory of the tests instead of its home's. */
  readonly besideOthers?: true;
  /** Called with each piece of stdout as it is written. Throwing makes the write fail. */
  readonly onStdout?: (text: string) => void | Promise<void>;
  /** Takes the place of the command of `exec`. */
  readonly onCommand?: Host["runCommand"];
  readonly around?: Host["around"];
}

const unexpected: Host["runCommand"] = ([file]) => Promise.reject(new Error(`this test runs no command: ${file}`));

/**
 * Runs the whole tool in this process, from the sources: like `keyctl`, without starting Node. Only one at a time,
 * because it sets the working directory.
 */
export async function inProcess(home: Home, args: readonly string[], options: InProcessOptions = {}): Promise<Run> {
  const { columns, onStdout, onCommand, around } = options;
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
      // A slow machine would show its progress.
      animates: false,
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
      boundMemory: () => {},
      collectGarbage: async () => {},
      runCommand: async (words, environment) => (onCommand ?? unexpected)(words, environment),
      around,
    });
    return { code, signal: undefined, stdout, stderr, log: logOf(stderr) };
  } finally {
    if (isAlone) {
      entered = undefined;
      // The home is removed after the test, and no program can be started in a removed folder.
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

/** The final error of a run with --json: it is in the last document. */
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

/** A stream instead of the chunks themselves: destroying it must end a waiting read. */
function inputOf(input: string | Uint8Array | AsyncIterable<Uint8Array>): Readable {
  const chunks = typeof input === "string" || input instanceof Uint8Array ? [Buffer.from(input)] : input;
  const stream = new PassThrough();
  void (async () => {
    for await (const chunk of chunks) if (chunk.length > 0) stream.write(chunk);
    stream.end();
  })();
  return stream;
}
