import { isKeyctlError, KeyctlError } from "../../core/model/errors.ts";
import type { ErrorCode } from "../../core/model/errors.ts";
import { logLines } from "../../core/model/log-event.ts";
import type { LogEvent } from "../../core/model/log-event.ts";
import { printable, printableJson } from "../../core/text/printable.ts";
import type { Warning } from "../../core/model/warning.ts";
import type { Output } from "./fd-output.ts";
import { plain } from "./paint.ts";
import type { Paint } from "./paint.ts";
import type { Redactor } from "./redactor.ts";
import { StatusLine } from "./status-line.ts";
import { isHangUp, waitForHangUp } from "./hang-up.ts";
import { raceSignal } from "../../core/async/race-signal.ts";
import { codeOf } from "../../files/system-error.ts";
import { isDeclined } from "./unanswered.ts";

const LAST_WORDS_MS = 1000;
const READER_GONE: ReadonlySet<string> = new Set(["EPIPE", "ECONNRESET"]);

export interface TerminalOptions {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly debug: boolean;
  /** Whether a person can answer a question. */
  readonly isInteractive: boolean;
  /** Why not, if the reason is not a missing terminal. */
  readonly unaskedBecause?: string;
  /** Whether stderr is a terminal on which a line may change in place. */
  readonly animates: boolean;
  /** Aborted by SIGINT, SIGTERM and SIGHUP. */
  readonly signal: AbortSignal;
  /** Completes the commands in a hint with what was given to this run. */
  readonly complete?: (text: string) => string;
}

/** An error as every document shows it. */
export interface ErrorDocument {
  readonly code: ErrorCode;
  readonly exit_code: number;
  readonly message: string;
  readonly hint: string | null;
  readonly retryable: boolean;
}

/** Results could not be written to stdout. */
export class OutputFailed extends KeyctlError {
  /** The reader closed the pipe, which ends a list quietly. */
  readonly readerGone: boolean;

  constructor(systemCode: string) {
    super("OUTPUT_FAILED", `the output could not be written (${systemCode})`, {
      hint: "check the disk or the program that reads the output",
    });
    this.readerGone = READER_GONE.has(systemCode);
  }
}

/** The only access to stdout and stderr: results go to the first, everything else to the second, both through the redactor. */
export class Terminal {
  readonly options: TerminalOptions;
  /** For stdout. */
  readonly paint: Paint;
  readonly #stderrPaint: Paint;
  readonly #stdout: Output;
  readonly #stderr: Output;
  readonly #redact: Redactor;
  readonly #status: StatusLine;
  readonly #runWarnings: Warning[] = [];
  readonly #saidOnce = new Set<string>();
  #hasConcluded = false;
  #outlivesReader = false;
  #unread: OutputFailed | undefined;

  constructor(
    streams: Streams,
    redact: Redactor,
    options: TerminalOptions,
    paints: { stdout: Paint; stderr: Paint } = { stdout: plain, stderr: plain },
  ) {
    this.#stdout = streams.stdout;
    this.#stderr = streams.stderr;
    this.#redact = redact;
    this.#status = new StatusLine(streams.stderr);
    this.options = options;
    this.paint = paints.stdout;
    this.#stderrPaint = paints.stderr;
  }

  /** The width of the terminal for results; undefined without a terminal. */
  get columns(): number | undefined {
    return this.#stdout.columns;
  }

  get isErrorTerminal(): boolean {
    return this.#stderr.columns !== undefined;
  }

  /** The final document of the run is being written, and no other may follow. */
  get hasConcluded(): boolean {
    return this.#hasConcluded;
  }

  /** From now on, output that cannot be written does not end the run: it is dropped, and `unread` reports it. */
  outliveReader(): void {
    this.#outlivesReader = true;
  }

  /** OUTPUT_FAILED, once something was dropped. */
  get unread(): KeyctlError | undefined {
    return this.#unread;
  }

  /** A result, with its line end. */
  async result(text: string): Promise<void> {
    await this.#deliver(this.#redact(`${text}\n`));
  }

  /** The one document of a run, which must be delivered. */
  async document(document: object, revealing = false): Promise<void> {
    if (!this.#stdout.isOpen) return this.#lose(new OutputFailed("it is closed"));
    await this.conclude(document, revealing);
  }

  /** The last document of a run, which reports how it ended. A later signal does not change it. */
  async conclude(document: object, revealing = false): Promise<void> {
    const text = this.textOf([this.withRunWarnings(document)], revealing);
    this.#hasConcluded = true;
    await this.#deliver(`${text}\n`, true);
  }

  /** The document that ends a run, with the warnings about the run as a whole. */
  withRunWarnings<Document extends object>(document: Document): Document {
    if (this.#runWarnings.length === 0 || !("warnings" in document) || !Array.isArray(document.warnings))
      return document;
    return { ...document, warnings: [...document.warnings, ...this.#runWarnings] };
  }

  /** JSON documents, one per line; `revealing` ones hold bare keys that a person asked for. */
  async documents(documents: readonly object[], revealing = false): Promise<void> {
    if (documents.length === 0) return;
    const text = this.textOf(documents, revealing);
    await (revealing ? this.reveal(text) : this.result(text));
  }

  /** JSON documents as text for a file, through the redactor unless they are `revealing`. */
  textOf(documents: readonly object[], revealing = false): string {
    const text = documents.map((document) => printableJson(document, this.#completed)).join("\n");
    return revealing ? text : this.#redact(text);
  }

  /** The only way for a bare key to reach stdout: a person asked for it with --reveal. */
  async reveal(text: string): Promise<void> {
    if (!this.#stdout.isOpen) return this.#lose(new OutputFailed("it is closed"));
    await this.#deliver(`${text}\n`);
  }

  log(event: LogEvent): void {
    if (!this.options.quiet) this.#say(logLines(event).join("\n"));
  }

  note(text: string): void {
    if (!this.options.quiet) this.#say(`note: ${printable(this.complete(text))}`);
  }

  hint(text: string): void {
    if (!this.options.quiet) this.#say(this.#stderrPaint.dim(`hint: ${this.complete(text)}`));
  }

  /** What the run is doing, on the last line of a terminal; nothing for an empty text. */
  status(text: string): void {
    if (this.options.animates) this.#status.show(this.#redact(printable(text)));
  }

  /** Leaves the last line of the terminal to a question, or to what a person types, until the result is called. */
  holdStatus(): () => void {
    return this.#status.hold();
  }

  /** A line under a table, for people. */
  footer(text: string): void {
    if (!this.options.quiet) this.#say(text);
  }

  warning(text: string): void {
    this.#say(`${this.#stderrPaint.yellow("warning:")} ${printable(this.complete(text))}`);
  }

  /** A warning about a result or a part of the run. */
  warn(warning: Warning): void {
    if (warning.fixable === false) this.warnOnce(warning);
    else this.warning(warning.message);
  }

  /** A warning that the parts of a run have in common. With --quiet, nobody is told what nobody can change. */
  warnOnce({ message, fixable }: Warning): void {
    if ((fixable === false && this.options.quiet) || this.#saidOnce.has(message)) return;
    this.#saidOnce.add(message);
    this.warning(message);
  }

  /** A worry about the run as a whole: said at once, and part of the document that ends the run. */
  runWarning(warning: Warning): void {
    if (this.#runWarnings.some(({ message }) => message === warning.message)) return;
    this.#runWarnings.push(warning);
    this.warn(warning);
  }

  error(error: KeyctlError): void {
    if (isDeclined(error)) return this.note(error.message);
    this.#say(`${this.#stderrPaint.red("error:")} ${printable(error.message)}`);
    if (error.hint !== null) this.hint(error.hint);
  }

  /** A text with commands, as it can be typed in the place of this run. */
  complete(text: string): string {
    return this.options.complete?.(text) ?? text;
  }

  /** The replacer for documents; undefined if no hint changes. */
  get #completed() {
    const { complete } = this.options;
    if (complete === undefined) return undefined;
    return (name: string, value: unknown) => (name === "hint" && typeof value === "string" ? complete(value) : value);
  }

  stack(thrown: unknown): void {
    if (thrown instanceof Error && thrown.stack !== undefined) this.#say(thrown.stack);
  }

  async #deliver(text: string, isLast = false): Promise<void> {
    const { signal } = this.options;
    if (this.#unread !== undefined) return;
    const restoreStatus = this.#stdout.columns === undefined ? () => {} : this.#status.makeWay();
    try {
      const writing = this.#stdout.write(text);
      if (!this.#stdout.isBlocked) return await writing;
      // After a signal, the remaining output gets a moment, and a reader that does not read gets no more.
      await raceSignal(writing, signal.aborted || isLast ? momentAfter(signal) : signal);
    } catch (thrown) {
      if (isHangUp(thrown)) await waitForHangUp(signal);
      signal.throwIfAborted();
      if (isKeyctlError(thrown)) throw thrown;
      const failed = new OutputFailed(codeOf(thrown) || "its reader has closed it");
      this.#lose(failed);
    } finally {
      restoreStatus();
    }
  }

  /** Throws it, unless the run continues without a reader. */
  #lose(failed: OutputFailed): void {
    if (!this.#outlivesReader) throw failed;
    const problem = failed.readerGone ? "the reader of the output has closed it" : failed.message;
    if (this.#unread === undefined) this.note(`${problem}; the run continues`);
    this.#unread ??= failed;
  }

  /** A failed write is ignored: a closed stderr must not stop the work. */
  #say(text: string): void {
    this.#stderr.write(this.#status.above(this.#redact(`${text}\n`))).catch(() => {});
  }
}

/** Aborted a moment after this signal. */
function momentAfter(signal: AbortSignal): AbortSignal {
  const moment = new AbortController();
  const wait = () => setTimeout(() => moment.abort(signal.reason), LAST_WORDS_MS);
  if (signal.aborted) wait();
  else signal.addEventListener("abort", wait, { once: true });
  return moment.signal;
}

export interface Streams {
  readonly stdout: Output;
  readonly stderr: Output;
}
