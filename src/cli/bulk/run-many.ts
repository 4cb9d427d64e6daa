import { statSync } from "node:fs";
import { toKeyctlError, clampTimeout } from "../../core/async/deadline.ts";
import { isKeyctlError, KeyctlError } from "../../core/model/errors.ts";
import type { UserId } from "../../core/model/user-id.ts";
import { inHome } from "../../files/home-folder.ts";
import { keptInput } from "./kept-input.ts";
import { createDocumentFile } from "./output-file.ts";
import { startProgress } from "./progress.ts";
import type { Progress } from "./progress.ts";
import { errorDocument, isBrokenPipe } from "../invocation.ts";
import type { Invocation, Session, StoreName } from "../invocation.ts";
import { usersOf } from "./selection.ts";
import type { BadLine, Many } from "./selection.ts";
import { TablePrinter } from "../terminal/table-printer.ts";
import { endOfRun } from "../terminal/unread.ts";
import type { Warning } from "../../core/model/warning.ts";
import type { BulkFlags, BulkView, UserCommand, UserResult } from "./user-command.ts";
import { yieldToEventLoop } from "../../core/async/sleep.ts";

/** A line for each user and a summary at the end. */
export async function forMany<Result extends UserResult>(
  invocation: Invocation,
  selection: Many,
  flags: BulkFlags,
  command: UserCommand<Result>,
): Promise<KeyctlError | null> {
  const started = Date.now();
  const score = command.score();
  let rest: number | undefined;
  const timeOver = flags.stopAfter === undefined ? undefined : AbortSignal.timeout(clampTimeout(flags.stopAfter));
  const input = keptInput(() => invocation.inputStream(timeOver));
  let store: StoreName | null = null;
  const lines = await linesFor(invocation, flags, command, () => store);
  let complete = false;
  let isInputLeft = false;
  let failure: KeyctlError | null = null;
  if (command.onlyReads !== true) invocation.terminal.outliveReader();
  try {
    complete = await invocation.withManager(
      { ...command.needs, logs: flags.log === true ? "all" : "none" },
      async (opened) => {
        store = opened.store;
        await command.confirm?.(opened, selection, () =>
          usersOf(selection, {
            manager: opened.manager,
            signal: invocation.signal,
            input: input.first,
            onBadLine: () => {},
            onBytes: () => {},
          }),
        );
        await lines.begin();
        return goThrough(opened);
      },
    );
  } catch (thrown) {
    if (isBrokenPipe(thrown)) {
      lines.abandon();
      return null;
    }
    failure = failureOf(thrown);
  }
  const error = failure ?? score.error(complete || isInputLeft, flags.allowEmpty === true);
  const elapsed = Date.now() - started;
  try {
    await lines.finish(
      {
        type: "summary",
        command: command.name,
        store: (store as StoreName | null)?.name ?? null,
        ...score.counts(rest),
        shard: selection.shard === undefined ? null : `${selection.shard.index}/${selection.shard.count}`,
        elapsed_ms: elapsed,
        complete: complete && failure === null,
        warnings: [...score.warnings, ...(command.runWarnings?.() ?? [])],
      },
      error,
      failure !== null && score.done === 0 ? undefined : { elapsed, line: score.describe(elapsed) },
    );
  } catch (thrown) {
    lines.abandon();
    if (!isBrokenPipe(thrown)) throw thrown;
    return failure;
  }
  // The file has all of it.
  if (flags.output !== undefined) return error;
  const gap = isInputLeft ? "standard input was read no further" : "the work was stopped before its end";
  return endOfRun(invocation.terminal, error, {
    line: score.describe(elapsed),
    gap: complete && failure === null ? null : gap,
    hint: "--output <file>   keeps the result of every user",
  });

  /** What can still be reported in a summary. A bug cannot, nor can output that takes no more. */
  function failureOf(thrown: unknown): KeyctlError {
    try {
      const expected = toKeyctlError(thrown);
      if (expected.code === "OUTPUT_FAILED") throw stoppedBy(expected);
      return expected;
    } catch (fatal) {
      lines.abandon();
      throw fatal;
    }
  }

  /** What was done before the file could not be written any more is said at least. */
  function stoppedBy({ message, hint }: KeyctlError): KeyctlError {
    const line = score.describe(Date.now() - started);
    const whole = `${message}; the work was stopped before its end: ${line}`;
    return new KeyctlError("OUTPUT_FAILED", whole, hint === null ? {} : { hint });
  }

  /** False when the time of --stop-after was over before all users were done. */
  async function goThrough({ manager }: Session): Promise<boolean> {
    const badLines: BadLine[] = [];
    const isStdin = selection.kind === "file" && selection.path === "-";
    const size = selection.kind === "file" && !isStdin ? sizeOf(selection.path) : undefined;
    const total = selection.kind === "all" ? await manager.count({ signal: invocation.signal }) : undefined;
    let bytesRead = 0;
    let inTime = true;
    const users = usersOf(selection, {
      manager,
      signal: invocation.signal,
      input: input.last,
      onBadLine: (line) => badLines.push(line),
      onBytes: (count) => (bytesRead = count),
    });
    let usersReported = 0;
    const rejected = (upTo: number) => {
      const later = badLines.findIndex(({ usersBefore }) => usersBefore > upTo);
      const due = badLines.splice(0, later === -1 ? badLines.length : later);
      return due.map(({ text, error: problem }) => command.failed(text, problem));
    };
    const report = async (results: readonly Result[]) => {
      const all = results.flatMap((result) => [...rejected(usersReported++), result]);
      all.push(...rejected(usersReported));
      for (const result of all) score.add(result);
      await lines.print(all);
      lines.progress(score.done, total === undefined ? size && bytesRead / size : score.done / total);
    };
    let selected = 0;
    async function* batches(): AsyncGenerator<readonly UserId[]> {
      try {
        for (let next = await users.next(); next.done !== true; next = await users.next()) {
          selected += next.value.length;
          await yieldToEventLoop();
          invocation.signal.throwIfAborted();
          timeOver?.throwIfAborted();
          yield next.value;
          // Input that goes on for ever would keep alive a run that nobody listens to.
          isInputLeft = isStdin && invocation.terminal.unread !== undefined;
          if (isInputLeft) return void (await users.return(undefined));
        }
      } catch (thrown) {
        if (timeOver?.aborted !== true || thrown !== timeOver.reason) throw thrown;
        inTime = false;
      }
    }
    for await (const results of command.many(manager, batches(), selection, timeOver)) await report(results);
    await report([]);
    // Users of the last batch were not come to.
    if (timeOver?.aborted === true && score.isCutShort === undefined && usersReported < selected) inTime = false;
    const isComplete = inTime && !isInputLeft && score.isCutShort !== true;
    if (!isComplete && score.countsRest === true) rest = (await countAll()) - usersReported;
    return isComplete;

    /** All users of the selection, but of what another program goes on writing only those that have come. */
    async function countAll(): Promise<number> {
      if (total !== undefined && selection.shard === undefined) return Math.max(total, usersReported);
      if (isStdin) return selected;
      for (let next = await users.next(); next.done !== true; next = await users.next()) selected += next.value.length;
      return selected;
    }
  }
}

type Summary = Readonly<Record<string, unknown>> & { readonly warnings: readonly Warning[] };

interface Description {
  readonly elapsed: number;
  readonly line: string;
}

interface Lines<Result> {
  /** Shows that work is going on: after all questions, which need the terminal for themselves. */
  begin(): Promise<void>;
  print(results: readonly Result[]): Promise<void>;
  progress(done: number, part: number | undefined): void;
  /** `description` is for people: undefined when there is nothing to tell. */
  finish(summary: Summary, error: KeyctlError | null, description: Description | undefined): Promise<void>;
  abandon(): void;
}

/** Where the lines of a bulk run go: JSON or a table on stdout, or JSON into a file. */
async function linesFor<Result extends UserResult>(
  invocation: Invocation,
  flags: BulkFlags,
  command: UserCommand<Result>,
  store: () => StoreName | null,
): Promise<Lines<Result>> {
  const { terminal, environment, receivedSignal, atEnd } = invocation;
  const documentOf = (result: Result) => ({
    type: "user",
    ...command.document(result),
    error: errorDocument(result.error, receivedSignal()),
  });
  const file = flags.output === undefined ? undefined : createDocumentFile(inHome(flags.output, environment), atEnd);
  const screen = command.screen?.(store) ?? tableOf(new TablePrinter(terminal, command.columns), command.cells);
  const { json } = terminal.options;
  let progress: Progress | undefined;
  return {
    async begin() {
      progress = await startProgress({
        spinner: terminal.isErrorTerminal && (terminal.columns === undefined || file !== undefined),
        verb: command.name,
        say: (line) => terminal.note(line),
      });
    },
    async print(results) {
      if (file !== undefined)
        for (const result of results) file.write(terminal.textOf([documentOf(result)], command.reveals));
      else if (json) return terminal.documents(results.map(documentOf), command.reveals);
      // Documents in a file leave the screen to people.
      if (file === undefined || (command.screen !== undefined && !json)) await screen.print(results);
    },
    progress: (done, part) => progress?.update(done, part),
    async finish(summary, error, description) {
      progress?.stop();
      const document = { ...summary, error: errorDocument(error, receivedSignal()) };
      if (json && file === undefined) return terminal.conclude(document);
      file?.write(terminal.textOf([document]));
      file?.finish();
      try {
        if (description !== undefined || command.screen === undefined) await screen.finish(description?.elapsed ?? 0);
      } catch (thrown) {
        // The file says how the run ended, and a signal changes nothing of that any more.
        if (file === undefined || !isKeyctlError(thrown) || thrown.code !== "INTERRUPTED") throw thrown;
      }
      for (const { message } of summary.warnings) terminal.warning(message);
      if (description !== undefined && command.screen === undefined) terminal.footer(description.line);
    },
    abandon() {
      progress?.stop();
      file?.abandon();
    },
  };
}

function tableOf<Result>(table: TablePrinter, cells: (result: Result) => readonly string[]): BulkView<Result> {
  return { print: (results) => table.print(results.map(cells)), finish: () => table.end() };
}

function sizeOf(path: string): number | undefined {
  try {
    return statSync(path).size;
  } catch {
    return undefined; // Reading it says why.
  }
}
