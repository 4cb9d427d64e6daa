import type { KeyctlError } from "../core/model/errors.ts";
import type { DoctorContext } from "../core/doctor/collect-facts.ts";
import type { ExternalSource } from "../core/model/log-event.ts";
import type { KeyManager } from "../core/manager/manager.ts";
import { exitCodeOf } from "./exit-codes.ts";
import type { CommandAgain } from "./command-again.ts";
import type { Prompt } from "./terminal/prompt.ts";
import type { Progress } from "./bulk/progress.ts";
import type { CommandEnd } from "./terminal/run-command.ts";
import type { AtEnd } from "./terminal/process-end.ts";
import type { ErrorDocument, Terminal } from "./terminal/terminal.ts";

/** The file of `--output` that is no file. */
export const STANDARD_OUTPUT = "-";

/** The options that every command has. */
export interface GlobalOptions {
  readonly json?: true;
  readonly quiet?: true;
  readonly color: boolean;
  readonly input: boolean;
  readonly timeout?: number;
  readonly store?: string;
  readonly keyFile?: string;
  readonly debug?: true;
}

/** The documents of a run go to standard output with `--json`, and with `--output -`. */
export function withJsonOutput(globals: GlobalOptions, options: unknown): GlobalOptions {
  const output = typeof options === "object" && options !== null && "output" in options ? options.output : undefined;
  return output === STANDARD_OUTPUT ? { ...globals, json: true } : globals;
}

export interface StoreName {
  /** The part of its URI that may be shown. */
  readonly name: string;
  /** The flag or variable that named it, or `default`. */
  readonly from: string;
}

export interface Session {
  readonly manager: KeyManager;
  readonly store: StoreName;
  /** False: no store exists yet, and the command does not create one. */
  readonly storeExists: boolean;
  /** The absolute path of key.txt. */
  readonly keyFile: string;
  /** For doctor, which inspects more than the manager. */
  readonly subject: DoctorContext;
  readonly timeoutMs: number;
  /** How long an old key goes on working after a rotation, in milliseconds. Throws CONFIG_EMPTY, CONFIG_INVALID. */
  readonly rotateGraceMs: () => number;
}

/** The store that keys are copied to. */
export interface Destination {
  readonly store: StoreName;
  readonly withManager: WithManager;
}

/** Opens late and always closes. The returned result is safe to report: no signal arrived before it. */
type WithManager = <Result>(needs: SessionOptions, work: (opened: Session) => Promise<Result>) => Promise<Result>;

/** The actual places of key.txt and OPENROUTER_API_KEY in this run, for hints. */
export type KeyPlaces = Readonly<Record<ExternalSource, KeyPlace>> & { readonly "key.txt": FilePlace };
type FilePlace = { readonly kind: "file"; readonly path: string };
type KeyPlace = FilePlace | { readonly kind: "variable"; readonly name: string };

type Environment = Readonly<Record<string, string | undefined>>;

/** What one run of a command works with. */
export interface Invocation {
  readonly terminal: Terminal;
  readonly version: string;
  readonly environment: Environment;
  /** The path with which this program was started. */
  readonly program: string;
  readonly keyPlaces: KeyPlaces;
  /** Aborted by SIGINT, SIGTERM and SIGHUP. */
  readonly signal: AbortSignal;
  /** For hints: this command line, with further flags. */
  readonly commandAgain: CommandAgain;
  readonly prompt: () => Promise<Prompt>;
  /** What the run is doing, for whoever waits for it. */
  readonly progress: Progress;
  /** Registers the undoing of something that must not outlive the process; the result unregisters it. */
  readonly atEnd: AtEnd;
  /** All of standard input, up to this many bytes. */
  readonly readInput: (maxBytes: number) => Promise<Uint8Array>;
  /**
   * Standard input as it arrives. If `until` is aborted first, it rejects with that signal's reason.
   * @param awaited what a person is told to type into a terminal
   */
  readonly inputStream: (until: AbortSignal | undefined, awaited: string) => AsyncIterable<Uint8Array>;
  /** Standard input is a terminal, also where nobody may be asked. */
  readonly stdinIsTerminal: boolean;
  /**
   * Runs a command with the streams of this process; keyctl prints nothing before its end. Nothing is started after an
   * interruption.
   */
  readonly runCommand: (words: readonly string[], environment: Environment) => Promise<CommandEnd>;
  /** The signal that arrived. */
  readonly receivedSignal: () => NodeJS.Signals | undefined;
  readonly withManager: WithManager;
  /** The same with a second store, which `to` or KEYCTL_COPY_TO names and which `work` opens. */
  readonly withDestination: <Result>(
    to: string | undefined,
    needs: SessionOptions,
    work: (source: Session, destination: Destination) => Promise<Result>,
  ) => Promise<Result>;
}

export interface SessionOptions {
  /** A missing store may be created: the default one, and with `create` a named one. */
  readonly mayCreateStore: boolean;
  /** The value of --create; undefined for a command without this flag, for which a named store must exist. */
  readonly create?: boolean | undefined;
  /** The command uses no store. */
  readonly withoutStore?: true;
  /** The command has more to report than a store that cannot be opened: calls to the store fail instead of the opening. */
  readonly storeMayFail?: true;
  /** The command itself reports what would be noted about master keys. */
  readonly withoutNotices?: true;
  /** Which events become log lines: `changes` are saves and failures. */
  readonly logs: "all" | "changes" | "none";
}

/** A run that ends with the exit code of another program. */
export interface ForeignExit {
  readonly exitCode: number;
}

/** A command's work: it writes its results and returns the final error of the run, or null. */
type CommandHandler<Options> = (invocation: Invocation, options: Options) => Promise<KeyctlError | ForeignExit | null>;

/** Turns a handler into an action. */
export type Run = <Options>(handler: CommandHandler<Options>) => (options: Options) => Promise<void>;

export function errorDocument(error: KeyctlError | null, signal: NodeJS.Signals | undefined): ErrorDocument | null {
  if (error === null) return null;
  const { code, message, hint, retryable } = error;
  return { code, exit_code: exitCodeOf(error, signal), message, hint, retryable };
}

/** The document of a user's result. It names no user where an unusable id was given that may be a secret. */
export function userDocument(fields: object, error: KeyctlError | null, signal: NodeJS.Signals | undefined): object {
  const isUnnamed = error?.code === "BAD_USER_ID" && "user_id" in fields && fields.user_id === "";
  return { ...fields, ...(isUnnamed ? { user_id: null } : {}), error: errorDocument(error, signal) };
}

/** The reader of our output has closed the pipe: it needs no more. */
export function isBrokenPipe(thrown: unknown): boolean {
  return thrown instanceof Error && "readerGone" in thrown && thrown.readerGone === true;
}
