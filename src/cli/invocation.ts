import type { KeyctlError } from "../core/model/errors.ts";
import type { DoctorContext } from "../core/doctor/collect-facts.ts";
import type { ExternalSource } from "../core/model/log-event.ts";
import type { KeyManager } from "../core/manager.ts";
import { exitCodeOf } from "./exit-codes.ts";
import type { Prompt } from "./terminal/prompt.ts";
import type { AtEnd } from "./terminal/process-end.ts";
import type { ErrorDocument, Terminal } from "./terminal/terminal.ts";

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

export interface StoreName {
  /** What may be shown of its URI. */
  readonly name: string;
  /** The flag or variable that named it, or `default`. */
  readonly from: string;
}

export interface Session {
  readonly manager: KeyManager;
  readonly store: StoreName;
  /** False: there is no store yet, and the command does not make one. */
  readonly storeExists: boolean;
  /** The absolute path of key.txt. */
  readonly keyFile: string;
  /** For doctor, which looks behind the manager. */
  readonly subject: DoctorContext;
  readonly timeoutMs: number;
}

/** The store that keys are copied to. */
export interface Destination {
  readonly store: StoreName;
  readonly withManager: WithManager;
}

/** Opens late, closes always. What is returned is safe to report: no signal came before it. */
type WithManager = <Result>(needs: SessionOptions, work: (opened: Session) => Promise<Result>) => Promise<Result>;

/** Where key.txt and OPENROUTER_API_KEY really are in this run, for hints. */
export type KeyPlaces = Readonly<Record<ExternalSource, KeyPlace>> & { readonly "key.txt": FilePlace };
type FilePlace = { readonly kind: "file"; readonly path: string };
type KeyPlace = FilePlace | { readonly kind: "variable"; readonly name: string };

/** What one run of a command works with. */
export interface Invocation {
  readonly terminal: Terminal;
  readonly version: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The path that this program was started by. */
  readonly program: string;
  readonly keyPlaces: KeyPlaces;
  /** Aborted by SIGINT, SIGTERM and SIGHUP. */
  readonly signal: AbortSignal;
  readonly prompt: () => Promise<Prompt>;
  /** Keeps what must not outlive the process; the result takes it back. */
  readonly atEnd: AtEnd;
  /** All of standard input, up to this many bytes. */
  readonly readInput: (maxBytes: number) => Promise<Uint8Array>;
  /** Standard input as it comes; when `until` is aborted first, it rejects with that signal's reason. */
  readonly inputStream: (until: AbortSignal | undefined) => AsyncIterable<Uint8Array>;
  /** Which one it was. */
  readonly receivedSignal: () => NodeJS.Signals | undefined;
  readonly withManager: WithManager;
  /** The same beside another store, which `to` or KEYCTL_COPY_TO names, and which `work` opens. */
  readonly withDestination: <Result>(
    to: string | undefined,
    needs: SessionOptions,
    work: (source: Session, destination: Destination) => Promise<Result>,
  ) => Promise<Result>;
}

export interface SessionOptions {
  /** A store that is not there yet may be made: the default one, and with `create` one that is named. */
  readonly mayCreateStore: boolean;
  /** What --create says; undefined for a command that has no such flag, for which a store that is named must exist. */
  readonly create?: boolean | undefined;
  /** The command uses no store. */
  readonly withoutStore?: true;
  /** The command has more to say than that the store cannot be opened: calls to the store fail in its place. */
  readonly storeMayFail?: true;
  /** The command says itself what would be noted of master keys. */
  readonly withoutNotices?: true;
  /** Which events become log lines: `changes` are saves and what went wrong. */
  readonly logs: "all" | "changes" | "none";
}

/** A command's work: it writes its results and returns the error that the run ends with, or null. */
type CommandHandler<Options> = (invocation: Invocation, options: Options) => Promise<KeyctlError | null>;

/** Makes an action of a handler. */
export type Run = <Options>(handler: CommandHandler<Options>) => (options: Options) => Promise<void>;

export function errorDocument(error: KeyctlError | null, signal: NodeJS.Signals | undefined): ErrorDocument | null {
  if (error === null) return null;
  const { code, message, hint, retryable } = error;
  return { code, exit_code: exitCodeOf(error, signal), message, hint, retryable };
}

/** The program that reads our output has closed the pipe: it has all that it wanted. */
export function isBrokenPipe(thrown: unknown): boolean {
  return thrown instanceof Error && "readerGone" in thrown && thrown.readerGone === true;
}
