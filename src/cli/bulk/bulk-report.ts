import { failureOf } from "../../core/async/deadline.ts";
import type { KeyctlError } from "../../core/model/errors.ts";
import { endOfRun, unlessReaderGone } from "../terminal/end-of-run.ts";
import type { Done } from "../terminal/end-of-run.ts";
import type { Terminal } from "../terminal/terminal.ts";

/** How a run came to its end. */
export interface RunEnd {
  /** What stopped it; null when it ended by itself. */
  readonly failure: KeyctlError | null;
  /** What the command ends with. */
  readonly error: KeyctlError | null;
  readonly elapsedMs: number;
}

/** A run over a whole store, and what is said of it. */
export interface BulkReport {
  /** Nothing is changed: a reader that goes away ends it quietly. */
  readonly isDryRun: boolean;
  readonly work: () => Promise<void>;
  /** What the command ends with when nothing stopped the work. */
  readonly outcome: () => KeyctlError | null;
  /** Writes the summary, as JSON or for people. */
  readonly summarize: (end: RunEnd) => Promise<void>;
  /** What is said in place of a summary that nobody read. */
  readonly done: (end: RunEnd) => Done;
}

/** Does the work, and says what has become of it, however it ended. Output that takes no more ends a dry run. */
export async function runWithReport(terminal: Terminal, report: BulkReport): Promise<KeyctlError | null> {
  const started = performance.now();
  const run = async (): Promise<RunEnd> => {
    // After OUTPUT_FAILED, nothing more can be said.
    const failure = await failureOf(report.work, "OUTPUT_FAILED");
    const error = failure ?? report.outcome();
    const end = { failure, error, elapsedMs: Math.round(performance.now() - started) };
    await report.summarize(end);
    return end;
  };
  if (report.isDryRun) return unlessReaderGone(async () => (await run()).error);
  terminal.outliveReader();
  const end = await run();
  return endOfRun(terminal, end.error, report.done(end));
}
