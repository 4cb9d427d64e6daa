import { KeyctlError } from "../../core/model/errors.ts";
import { isBrokenPipe } from "../invocation.ts";
import type { Terminal } from "./terminal.ts";

/**
 * **Invariant:** a reader that closes its pipe never ends a run quietly that changes or validates something. The run finishes
 * its work, then reports on stderr what it did and that its output was not read: OUTPUT_FAILED, exit 1.
 */

/** The report on a run whose output was not read. */
export interface Done {
  /** One line: `4,000 users in 3s: 4,000 purged`. */
  readonly line: string;
  /** The state of the work if it was not finished; null if it was. */
  readonly gap: string | null;
  /** How to keep the output. */
  readonly hint: string;
}

/** The final error of a run: its own, or, after reporting that one, OUTPUT_FAILED for output that was not read. */
export function endOfRun(terminal: Terminal, error: KeyctlError | null, { line, gap, hint }: Done): KeyctlError | null {
  const { unread } = terminal;
  if (unread === undefined) return error;
  const lost = new KeyctlError("OUTPUT_FAILED", `${unread.message}; ${gap ?? "the run finished"}: ${line}`, {
    hint,
  });
  // A signal takes precedence.
  if (error?.code === "INTERRUPTED") terminal.warning(lost.message);
  else if (error !== null) terminal.error(error);
  return error?.code === "INTERRUPTED" ? error : lost;
}

/** For a run that only reads: a reader that closes its pipe ends it quietly. */
export async function unlessReaderGone(work: () => Promise<KeyctlError | null>): Promise<KeyctlError | null> {
  try {
    return await work();
  } catch (thrown) {
    if (isBrokenPipe(thrown)) return null;
    throw thrown;
  }
}

/**
 * Shows the one result of a run, which must be delivered: OUTPUT_FAILED if it cannot be written. The state of the work is then
 * reported on stderr.
 * @param line null for a run that has changed nothing
 */
export async function showResult(
  terminal: Terminal,
  error: KeyctlError | null,
  line: string | null,
  show: () => Promise<void>,
): Promise<KeyctlError | null> {
  try {
    await show();
    return error;
  } catch (thrown) {
    if (!isOutputFailed(thrown)) throw thrown;
    if (error !== null) terminal.error(error);
    else if (line !== null) terminal.note(`the run finished: ${line}`);
    throw thrown;
  }
}

function isOutputFailed(thrown: unknown): boolean {
  return thrown instanceof Error && "code" in thrown && thrown.code === "OUTPUT_FAILED";
}
