import type { Command } from "commander";
import manifest from "../package.json" with { type: "json" };
import { refuseSecrets } from "./cli/argv-secrets.ts";
import { startProgress } from "./cli/bulk/progress.ts";
import type { Progress } from "./cli/bulk/progress.ts";
import { exitCodeOf, signalOf } from "./cli/exit-codes.ts";
import { interruptible, readUpTo } from "./cli/terminal/stdin.ts";
import type { Input } from "./cli/terminal/stdin.ts";
import { keyPlaces } from "./cli/views/key-places.ts";
import { overtimeNotes } from "./cli/terminal/overtime-notes.ts";
import { coloured, plain } from "./cli/terminal/paint.ts";
import { runProgram, STORE_VERBS } from "./cli/program.ts";
import { commandAgain, creationHint, splitAtDashes, withStoreFlag } from "./cli/command-again.ts";
import { environmentRedactor } from "./cli/terminal/redactor.ts";
import { errorDocument, isBrokenPipe, withJsonOutput } from "./cli/invocation.ts";
import type { Destination, ForeignExit, GlobalOptions, Invocation, Run } from "./cli/invocation.ts";
import type { Session, SessionOptions } from "./cli/invocation.ts";
import { logFor, masterKeyNotices, pauseNotes } from "./cli/terminal/session-notes.ts";
import { OutputFailed, Terminal } from "./cli/terminal/terminal.ts";
import { thisProcess } from "./cli/terminal/process-host.ts";
import type { ProcessHost } from "./cli/terminal/process-host.ts";
import type { ComposeOptions } from "./compose.ts";
import type { CommandEnd } from "./cli/terminal/run-command.ts";
import type { Config } from "./config/config.ts";
import { isCi } from "./core/model/ci.ts";
import { isKeyctlError, KeyctlError } from "./core/model/errors.ts";
import { DEFAULT_TIMEOUT_MS, anySignal, deadlineSignal } from "./core/async/deadline.ts";
import { yieldToEventLoop } from "./core/async/sleep.ts";
import { raceSignal } from "./core/async/race-signal.ts";

/** What a run works with: the process, and a test's wrapper between the core and its ports. */
export interface Host extends ProcessHost {
  readonly around?: ComposeOptions["around"];
}

type Environment = Host["environment"];

export { thisProcess } from "./cli/terminal/process-host.ts";

/** Runs one command line. Never rejects: the exit code reports the result, and the process must end with it at once. */
export async function main(host: Host = thisProcess()): Promise<number> {
  const tool = new CliRun(host);
  host.onSignal((signal) => tool.interrupt(signal));
  const code = await tool.run().catch((thrown: unknown) => tool.fail(thrown));
  await tool.leave(code);
  return code;
}

/** Less time than the system's DNS look-up may take. */
const SHORT_MS = 20_000;
/** A run that continues for longer than this after a signal reports why. */
const SILENCE_MS = 250;
const FINISHING =
  "keyctl finishes what it has started; a second signal ends it at once, and may leave a key that only `keyctl reconcile` finds";

const END_OF_INPUT = `and end with ${process.platform === "win32" ? "Ctrl-Z and Enter" : "Ctrl-D on a line of its own"}`;

class CliRun {
  readonly #host: Host;
  readonly #stop = new AbortController();
  #signal: NodeJS.Signals | undefined;
  #terminal: Terminal;
  #outcome: KeyctlError | ForeignExit | null = null;
  #command = "keyctl";
  /** Otherwise a log would stay next to the database. */
  #leavesFileOpen = false;

  constructor(host: Host) {
    this.#host = host;
    // Before the options are parsed: what a usage error must already know.
    const [words] = splitAtDashes(host.argv);
    const quiet = words.includes("--quiet") || words.includes("-q");
    this.#terminal = new Terminal(host, environmentRedactor(host.environment), {
      json: words.includes("--json"),
      quiet,
      debug: words.includes("--debug"),
      isInteractive: false,
      animates: false,
      signal: this.#stop.signal,
    });
  }

  interrupt(signal: NodeJS.Signals): void {
    this.#signal = signal;
    this.#stop.abort(new KeyctlError("INTERRUPTED", `interrupted by ${signal}`, { retryable: true }));
    if (this.#terminal.isErrorTerminal) setTimeout(() => this.#terminal.note(FINISHING), SILENCE_MS).unref();
  }

  /** Ends what remains of the process besides its exit code. */
  async leave(code: number): Promise<void> {
    const { stdout, stderr, killSelf, lookupsEnd, collectGarbage, leave } = this.#host;
    // A slow reader gets all output, but does not delay a signal.
    await raceSignal(Promise.all([stdout.drained(), stderr.drained()]), this.#stop.signal).catch(() => {});
    // Writes to a closed terminal have failed by now and block nothing.
    await yieldToEventLoop();
    const signal = signalOf(code);
    if (signal !== undefined && (stdout.isBlocked || stderr.isBlocked)) killSelf(signal);
    await lookupsEnd();
    if (this.#leavesFileOpen) await collectGarbage();
    leave();
  }

  async run(): Promise<number> {
    const { argv, stdout } = this.#host;
    refuseSecrets(argv);
    const help = await runProgram(argv, {
      version: manifest.version,
      columns: stdout.columns,
      run: (program) => this.#runner(program),
    });
    if (help !== undefined && (help.error === null || !this.#terminal.options.json)) await this.#printHelp(help.text);
    if (help !== undefined && help.error !== null) throw help.error;
    const outcome = this.#outcome;
    if (outcome !== null && "exitCode" in outcome) return outcome.exitCode;
    if (outcome !== null) this.#terminal.error(outcome);
    return exitCodeOf(outcome, this.#signal);
  }

  /** A pager that was closed early ends the run quietly. */
  async #printHelp(text: string): Promise<void> {
    try {
      await this.#terminal.result(text);
    } catch (thrown) {
      if (!isBrokenPipe(thrown)) throw thrown;
    }
  }

  /** The only place where an error becomes an exit code. */
  async fail(thrown: unknown): Promise<number> {
    const terminal = this.#terminal;
    const error = isKeyctlError(thrown)
      ? thrown
      : new KeyctlError("BUG", "internal error: this is a bug in keyctl", {
          hint: "run it again with --debug and report what it prints",
        });
    if (error.code === "BUG" && terminal.options.debug) terminal.stack(thrown);
    terminal.error(error);
    if (terminal.options.json && !terminal.hasConcluded && !(error instanceof OutputFailed)) {
      await terminal.documents([{ error: errorDocument(error, this.#signal) }]).catch(() => {});
    }
    return exitCodeOf(error, this.#signal);
  }

  #runner(program: Command): Run {
    return (handler) => async (options) => {
      const globals = withJsonOutput(program.opts<GlobalOptions>(), options);
      this.#command = program.args[0] ?? "keyctl";
      this.#terminal = await this.#terminalFor(globals);
      const progress = startProgress(this.#terminal, this.#command);
      const forget = this.#host.atEnd(() => progress.stop());
      try {
        this.#outcome = await handler(this.#invocation(globals, progress), options);
      } finally {
        progress.stop();
        forget();
      }
    };
  }

  #invocation(globals: GlobalOptions, progress: Progress): Invocation {
    const { signal } = this.#stop;
    const { argv, environment, program, atEnd, boundMemory, stdinIsTerminal } = this.#host;
    const terminal = this.#terminal;
    return {
      terminal,
      progress: {
        ...progress,
        // A run with parts is one of any length.
        begin: (part) => {
          boundMemory();
          progress.begin(part);
        },
      },
      version: manifest.version,
      environment,
      program,
      keyPlaces: keyPlaces(globals, environment),
      signal,
      commandAgain: commandAgain(argv),
      receivedSignal: () => this.#signal,
      prompt: async () =>
        (await import("./cli/terminal/prompt.ts")).promptOnStderr(signal, atEnd, () => terminal.holdStatus()),
      atEnd,
      readInput: (maxBytes) => readUpTo(this.#stdin(), maxBytes, globals.timeout ?? DEFAULT_TIMEOUT_MS, signal),
      inputStream: (until, awaited) =>
        interruptible(this.#stdin(awaited), until === undefined ? signal : anySignal(signal, until)),
      stdinIsTerminal,
      runCommand: (words, childEnvironment) => this.#runCommand(words, childEnvironment, progress),
      withManager: async (needs, work) => this.#withManager(await this.#config(globals), needs, work),
      withDestination: (to, needs, work) => this.#withDestination(globals, to, needs, work),
    };
  }

  async #runCommand(words: readonly string[], environment: Environment, progress: Progress): Promise<CommandEnd> {
    const { stdout, stderr, collectGarbage, runCommand } = this.#host;
    const { signal } = this.#stop;
    progress.stop();
    await raceSignal(Promise.all([stdout.drained(), stderr.drained()]), signal);
    if (this.#leavesFileOpen) await collectGarbage();
    this.#leavesFileOpen = false;
    signal.throwIfAborted();
    return runCommand(words, environment);
  }

  #stdin(awaited?: string): Input {
    // A person types into the last line.
    if (this.#host.stdinIsTerminal) this.#terminal.holdStatus();
    if (this.#host.stdinIsTerminal && awaited !== undefined) this.#terminal.note(`type ${awaited} ${END_OF_INPUT}`);
    return this.#host.stdin();
  }

  async #config({ store, keyFile, timeout }: GlobalOptions): Promise<Config> {
    const { openConfig } = await import("./compose.ts");
    const overrides = { store, keyFile, timeoutMs: timeout, actor: { command: this.#command } };
    return openConfig(this.#host.environment, overrides, this.#stop.signal);
  }

  async #withDestination<Result>(
    globals: GlobalOptions,
    to: string | undefined,
    needs: SessionOptions,
    work: (source: Session, destination: Destination) => Promise<Result>,
  ): Promise<Result> {
    const { openDestination } = await import("./compose.ts");
    const config = await this.#config(globals);
    const other = await openDestination(this.#host.environment, config, to);
    const { name, from } = other.store;
    const withManager: Destination["withManager"] = (itsNeeds, itsWork) => this.#withManager(other, itsNeeds, itsWork);
    return this.#withManager(config, needs, (source) => work(source, { store: { name, from }, withManager }));
  }

  async #withManager<Result>(
    config: Config,
    needs: SessionOptions,
    work: (opened: Session) => Promise<Result>,
  ): Promise<Result> {
    const { around } = this.#host;
    const terminal = this.#terminal;
    const { signal } = this.#stop;
    if (config.timeoutMs < SHORT_MS) this.#host.shortenDnsTimeout();
    const { compose } = await import("./compose.ts");
    const { manager, ...composed } = await compose(
      config,
      {
        log: logFor(terminal, needs.logs),
        onPause: pauseNotes(terminal),
        onOvertime: overtimeNotes(terminal),
        notices: masterKeyNotices(terminal, config.store.kind, needs),
      },
      {
        mayCreateStore: needs.mayCreateStore,
        creates: needs.create === undefined ? false : needs.create || config.createStore,
        creation: creationHint(this.#host.argv, config.store, needs.create !== undefined),
        withoutStore: needs.withoutStore,
        storeMayFail: needs.storeMayFail,
        // The rest of such a command's report needs time as well.
        signal: deadlineSignal({ signal }, needs.storeMayFail === true ? config.timeoutMs / 2 : config.timeoutMs),
        around,
      },
    );
    if (needs.withoutNotices !== true) composed.storeWarnings.forEach((warning) => terminal.runWarning(warning));
    try {
      const { store, keyFile, timeoutMs, rotateGraceMs } = config;
      const { name, from } = store;
      const session = { manager, store: { name, from }, keyFile: keyFile.path, timeoutMs, rotateGraceMs };
      return await work({ ...composed, ...session });
    } finally {
      await manager.close();
      for (const warning of manager.takeWarnings()) terminal.runWarning(warning);
      this.#leavesFileOpen ||= composed.leavesFileOpen;
      await yieldToEventLoop();
      signal.throwIfAborted();
    }
  }

  async #terminalFor(globals: GlobalOptions): Promise<Terminal> {
    const { environment, stdout, stderr, stdinIsTerminal } = this.#host;
    const mayPaint = globals.color && !environment["NO_COLOR"] && environment["TERM"] !== "dumb";
    const paintFor = (columns: number | undefined) => (mayPaint && columns !== undefined ? coloured() : plain);
    return new Terminal(
      this.#host,
      environmentRedactor(this.#host.environment),
      {
        json: globals.json === true,
        quiet: globals.quiet === true,
        debug: globals.debug === true,
        isInteractive: globals.input && stdinIsTerminal && stderr.columns !== undefined && !isCi(environment),
        animates: this.#host.animates && stderr.columns !== undefined && globals.quiet !== true,
        signal: this.#stop.signal,
        ...(!globals.input ? { unaskedBecause: "--no-input was given" } : {}),
        ...(globals.input && isCi(environment) ? { unaskedBecause: "CI is set" } : {}),
        ...(globals.store === undefined ? {} : { complete: withStoreFlag(globals.store, STORE_VERBS) }),
      },
      { stdout: await paintFor(stdout.columns), stderr: await paintFor(stderr.columns) },
    );
  }
}
