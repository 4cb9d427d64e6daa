import { clampTimeout, toKeyctlError } from "../../core/async/deadline.ts";
import { yieldToEventLoop } from "../../core/async/sleep.ts";
import { KeyctlError, withHint } from "../../core/model/errors.ts";
import { shellQuote } from "../../core/text/shell-quote.ts";
import type { UserId } from "../../core/model/user-id.ts";
import { formatNumber } from "../../core/text/format.ts";
import { isBrokenPipe, STANDARD_OUTPUT } from "../invocation.ts";
import type { Invocation, Session, StoreName } from "../invocation.ts";
import { endOfRun } from "../terminal/end-of-run.ts";
import type { KeptInput } from "./kept-input.ts";
import { outputLines } from "./output-lines.ts";
import type { OutputLines } from "./output-lines.ts";
import { inspectUsersFile, usersOf } from "./selection.ts";
import { SelectionSize } from "./selection-size.ts";
import type { BadLine, Many, UserStream } from "./selection.ts";
import { usersInput } from "./users-input.ts";
import type { UsersInput } from "./users-input.ts";
import type { BulkFlags, BulkSummary, UserCommand, UserResult } from "./user-command.ts";

/** One line per user and a summary at the end. */
export async function forMany<Result extends UserResult>(
  invocation: Invocation,
  selection: Many,
  flags: BulkFlags,
  command: UserCommand<Result>,
): Promise<KeyctlError | null> {
  const run = new BulkRun({ invocation, selection, flags, command });
  return run.report(await run.open());
}

interface BulkTask<Result extends UserResult> {
  readonly invocation: Invocation;
  readonly selection: Many;
  readonly flags: BulkFlags;
  readonly command: UserCommand<Result>;
}

class BulkRun<Result extends UserResult> {
  readonly #task: BulkTask<Result>;
  readonly #started = Date.now();
  readonly #score: BulkSummary<Result>;
  readonly #timeOver: AbortSignal | undefined;
  readonly #input: UsersInput;
  readonly #badLines: BadLine[] = [];
  #store: StoreName | null = null;
  /** Users read from the selection so far, and users whose result was reported. */
  #selected = 0;
  #reported = 0;
  /** The size of the selection, if a question needed all of it. */
  #ahead: number | undefined;
  #isInTime = true;
  #isInputLeft = false;
  /** Users that were not begun. */
  #rest = 0;

  constructor(task: BulkTask<Result>) {
    const { invocation, selection, flags, command } = task;
    this.#task = task;
    this.#score = command.score();
    this.#timeOver = flags.stopAfter === undefined ? undefined : AbortSignal.timeout(clampTimeout(flags.stopAfter));
    this.#input = usersInput(invocation, selection, this.#timeOver);
  }

  async open(): Promise<OutputLines<Result>> {
    const { invocation, flags, command } = this.#task;
    const lines = await outputLines(invocation, flags, command, () => this.#store);
    if (command.onlyReads !== true) invocation.terminal.outliveReader();
    return lines;
  }

  /** Does the work and reports its result. Returns the final error of the run. */
  async report(lines: OutputLines<Result>): Promise<KeyctlError | null> {
    let isComplete = false;
    let failure: KeyctlError | null = null;
    try {
      isComplete = await this.#work(lines);
    } catch (thrown) {
      if (isBrokenPipe(thrown)) {
        lines.abandon();
        return null;
      }
      failure = this.#failureOf(thrown, lines);
    }
    const { flags, invocation } = this.#task;
    invocation.progress.stop();
    const cause = failure ?? this.#score.error(isComplete || this.#isInputLeft, flags.allowEmpty === true);
    const error = cause === null ? null : this.#withRest(this.#whereItIs(this.#input.explained(cause)));
    try {
      await this.#conclude(lines, { isComplete: isComplete && failure === null, hasFailed: failure !== null, error });
    } catch (thrown) {
      lines.abandon();
      if (!isBrokenPipe(thrown)) throw thrown;
      return failure;
    }
    // The file has all results.
    if (flags.output !== undefined && flags.output !== STANDARD_OUTPUT) return error;
    return this.#endOf(error, isComplete && failure === null);
  }

  async #work(lines: OutputLines<Result>): Promise<boolean> {
    const { invocation, selection, flags, command } = this.#task;
    await inspectUsersFile(selection, invocation.signal);
    return invocation.withManager({ ...command.needs, logs: flags.log === true ? "all" : "none" }, async (session) => {
      this.#store = session.store;
      const size = new SelectionSize(selection, session.manager, invocation.signal);
      invocation.progress.begin({ what: `${command.name}: looking ahead`, total: () => size.expected() });
      const confirmed = await command.confirm?.(session, selection, () => this.#usersAhead(session));
      await size.prepare(confirmed ?? this.#ahead);
      return this.#goThrough(session, lines, size);
    });
  }

  /** The selection, for a question that comes before the run. */
  async *#usersAhead(session: Session): AsyncGenerator<readonly UserId[]> {
    const { progress } = this.#task.invocation;
    let count = 0;
    const told = { onBadLine: () => void (count += 1), onRepeated() {} };
    for await (const users of this.#users(session, this.#input.first, told)) {
      yield users;
      progress.update((count += users.length));
    }
    this.#ahead = count;
  }

  #users(
    { manager, subject }: Session,
    input: KeptInput["first"],
    told: Pick<UserStream, "onBadLine" | "onRepeated">,
  ): AsyncGenerator<readonly UserId[]> {
    const { invocation, selection } = this.#task;
    return usersOf(selection, {
      manager,
      managementKeyHashes: subject.managementKeyHashes,
      signal: invocation.signal,
      input,
      ...told,
    });
  }

  /** False if the time of --stop-after ended before all users were done. */
  async #goThrough(session: Session, lines: OutputLines<Result>, size: SelectionSize): Promise<boolean> {
    const users = this.#users(session, this.#input.last, {
      onBadLine: (line) => this.#badLines.push(line),
      onRepeated: size.onRepeated,
    });
    const countRest = async () => {
      const left = () => this.#selected - this.#reported + this.#badLines.length;
      this.#rest = await size.rest({ done: this.#score.done, left }, users);
    };
    try {
      await this.#printAll(users, { session, lines, size });
    } catch (thrown) {
      if (!isBrokenPipe(thrown)) await countRest();
      throw thrown;
    }
    const { isCutShort } = this.#score;
    // Users of the last batch were not reached.
    const isStopped = this.#timeOver?.aborted === true && isCutShort === undefined;
    if (isStopped && this.#reported < this.#selected) this.#isInTime = false;
    const isComplete = this.#isInTime && !this.#isInputLeft && isCutShort !== true;
    if (!isComplete) await countRest();
    return isComplete;
  }

  async #printAll(
    users: AsyncGenerator<readonly UserId[]>,
    {
      session,
      lines,
      size,
    }: { readonly session: Session; readonly lines: OutputLines<Result>; readonly size: SelectionSize },
  ): Promise<void> {
    const { invocation, selection, command } = this.#task;
    const { progress } = invocation;
    progress.begin({ what: command.name, total: () => size.expected() });
    const print = async (results: readonly Result[]) => {
      await lines.print(this.#withRejected(results));
      progress.update(this.#score.done + size.passed);
    };
    for await (const results of command.many(session.manager, this.#batches(users), selection, this.#timeOver)) {
      await print(results);
    }
    await print([]);
  }

  async *#batches(users: AsyncGenerator<readonly UserId[]>): AsyncGenerator<readonly UserId[]> {
    const { terminal, signal } = this.#task.invocation;
    try {
      for (let next = await users.next(); next.done !== true; next = await users.next()) {
        this.#selected += next.value.length;
        await yieldToEventLoop();
        signal.throwIfAborted();
        this.#timeOver?.throwIfAborted();
        yield next.value;
        // Endless input would keep alive a run whose output is not read.
        this.#isInputLeft = this.#input.isPiped && terminal.unread !== undefined;
        if (this.#isInputLeft) return void (await users.return(undefined));
      }
    } catch (thrown) {
      if (this.#timeOver?.aborted !== true || thrown !== this.#timeOver.reason) throw thrown;
      this.#isInTime = false;
    }
  }

  /** These results, and between them the lines of the selection that are not user ids. */
  #withRejected(results: readonly Result[]): readonly Result[] {
    const all = results.flatMap((result) => [...this.#rejected(this.#reported++), result]);
    all.push(...this.#rejected(this.#reported));
    for (const result of all) this.#score.add(result);
    return all;
  }

  #rejected(upTo: number): readonly Result[] {
    const later = this.#badLines.findIndex(({ usersBefore }) => usersBefore > upTo);
    const due = this.#badLines.splice(0, later === -1 ? this.#badLines.length : later);
    return due.map(({ text, error }) => this.#task.command.failed(text, error));
  }

  /** With `--output`, no lines are above. */
  #whereItIs(error: KeyctlError): KeyctlError {
    const { output = STANDARD_OUTPUT } = this.#task.flags;
    if (output === STANDARD_OUTPUT || error.hint === null) return error;
    return withHint(error, error.hint.replace("see the lines above", `see ${shellQuote(output)}`));
  }

  /** Says in its hint how many users were not begun. */
  #withRest(error: KeyctlError): KeyctlError {
    if (this.#rest === 0) return error;
    const { hint } = error;
    const remedy = hint === null ? "run it again" : REPEATS.test(hint) ? hint : `${hint}; then run it again`;
    return withHint(error, `${formatNumber(this.#rest)} not started; ${remedy}`);
  }

  async #conclude(
    lines: OutputLines<Result>,
    {
      isComplete,
      hasFailed,
      error,
    }: { readonly isComplete: boolean; readonly hasFailed: boolean; readonly error: KeyctlError | null },
  ): Promise<void> {
    const { selection, command } = this.#task;
    const { shard } = selection;
    const score = this.#score;
    const elapsed = this.#elapsed;
    const summary = {
      type: "summary",
      command: command.name,
      store: this.#store?.name ?? null,
      ...score.counts(this.#rest),
      shard: shard === undefined ? null : `${shard.index}/${shard.count}`,
      elapsed_ms: elapsed,
      complete: isComplete,
      warnings: [...score.warnings, ...(command.runWarnings?.() ?? [])],
    };
    const description = hasFailed && score.done === 0 ? undefined : { elapsed, line: this.#describe() };
    await lines.finish(summary, error, description);
  }

  #endOf(error: KeyctlError | null, isComplete: boolean): KeyctlError | null {
    const gap = this.#isInputLeft ? `the rest of ${this.#input.name} was not read` : "the run stopped early";
    return endOfRun(this.#task.invocation.terminal, error, {
      line: this.#describe(),
      gap: isComplete ? null : gap,
      hint: "--output <file>   keeps the result of every user",
    });
  }

  /** The failures that a summary can still report: not a bug, and not failed output. */
  #failureOf(thrown: unknown, lines: OutputLines<Result>): KeyctlError {
    try {
      const expected = toKeyctlError(thrown);
      const hasWorked = this.#task.command.onlyReads !== true;
      if (expected.code === "OUTPUT_FAILED") throw hasWorked ? this.#stoppedBy(expected) : expected;
      return expected;
    } catch (fatal) {
      lines.abandon();
      throw fatal;
    }
  }

  /** Reports what was done before the file could no longer be written. */
  #stoppedBy({ message, hint }: KeyctlError): KeyctlError {
    const whole = `${message}; the run stopped early: ${this.#describe()}`;
    return new KeyctlError("OUTPUT_FAILED", whole, hint === null ? {} : { hint });
  }

  /** `14 users in 3s: 14 made; 286 not started`. */
  #describe(): string {
    const rest = this.#rest === 0 ? "" : `; ${formatNumber(this.#rest)} not started`;
    return `${this.#score.describe(this.#elapsed)}${rest}`;
  }

  get #elapsed(): number {
    return Date.now() - this.#started;
  }
}

/** A hint that says by itself how the run goes on. */
const REPEATS = /^run it again|   continues where this run stopped/;
