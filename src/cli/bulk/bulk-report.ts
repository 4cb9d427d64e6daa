import { failureOf } from "../../core/async/deadline.ts";
import type { KeyctlError } from "../../core/model/errors.ts";
import { endOfRun, unlessReaderGone } from "../terminal/end-of-run.ts";
import type { Done } from "../terminal/end-of-run.ts";
import type { Terminal } from "../terminal/terminal.ts";

/** How a run ended. */
export interface RunEnd {
  /** The error that stopped it; null if it ended by itself. */
  readonly failure: KeyctlError | null;
  /** The final error of the command. */
  readonly error: KeyctlError | null;
  readonly elapsedMs: number;
}

/** What is missing from a run that an error stopped, for the report that was not read. */
export function gapOf({ failure }: RunEnd): string | null {
  return failure === null ? null : "the run stopped early";
}

/** A run over a whole store, and its report. */
export interface BulkReport {
  /** The run changes nothing: a reader that closes its pipe ends it quietly. */
  readonly isDryRun: boolean;
  readonly work: () => Promise<void>;
  /** The final error of the command if nothing stopped the work. */
  readonly outcome: () => KeyctlError | null;
  /** Writes the summary, as JSON or for people. */
  readonly summarize: (end: RunEnd) => Promise<void>;
  /** Printed instead of a summary that was not read. */
  readonly done: (end: RunEnd) => Done;
}

/** Does the work and reports its result, however it ended. Output that fails ends a dry run. */
export async function runWithReport(terminal: Terminal, report: BulkReport): Promise<KeyctlError | null> {
  const started = performance.now();
  const run = async (): Promise<RunEnd> => {
    // After OUTPUT_FAILED, nothing more can be written.
    const failure = await failureOf(report.work, "OUTPUT_FAILED");
    const error = failure ?? report.outcome();
    const end = { failure, error, elapsedMs: Math.round(performance.now() - started) };
    terminal.status("");
    await report.summarize(end);
    return end;
  };
  if (report.isDryRun) return unlessReaderGone(async () => (await run()).error);
  terminal.outliveReader();
  const end = await run();
  return endOfRun(terminal, end.error, report.done(end));
}
