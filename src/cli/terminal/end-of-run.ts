import { KeyctlError } from "../../core/model/errors.ts";
import { isBrokenPipe } from "../invocation.ts";
import type { Terminal } from "./terminal.ts";

/**
 * **Invariant:** a run that changes or judges something is never ended quietly by a reader that goes away. It finishes its
 * work, and then says on stderr what it has done and that nobody read it to its end: OUTPUT_FAILED, exit 1.
 */

/** What there is to say of a run, in place of what was not read. */
export interface Done {
  /** One line: `4,000 users in 3s: 4,000 purged`. */
  readonly line: string;
  /** What became of the work where not all of it was done; null when it was. */
  readonly gap: string | null;
  /** How to keep the output. */
  readonly hint: string;
}

/** What a run ends with: its own error, or, after saying that, that its output was not read to its end. */
export function endOfRun(terminal: Terminal, error: KeyctlError | null, { line, gap, hint }: Done): KeyctlError | null {
  const { unread } = terminal;
  if (unread === undefined) return error;
  const lost = new KeyctlError("OUTPUT_FAILED", `${unread.message}; ${gap ?? "the work was finished"}: ${line}`, {
    hint,
  });
  // A signal outranks it.
  if (error?.code === "INTERRUPTED") terminal.warning(lost.message);
  else if (error !== null) terminal.error(error);
  return error?.code === "INTERRUPTED" ? error : lost;
}

/** A run that only looks: a reader that goes away has seen enough, and ends it quietly. */
export async function unlessReaderGone(work: () => Promise<KeyctlError | null>): Promise<KeyctlError | null> {
  try {
    return await work();
  } catch (thrown) {
    if (isBrokenPipe(thrown)) return null;
    throw thrown;
  }
}

/**
 * Shows the one result of a run, which must reach somebody: OUTPUT_FAILED where it cannot be written. What became of the
 * work is then said on stderr.
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
    else if (line !== null) terminal.note(`the work was finished: ${line}`);
    throw thrown;
  }
}

function isOutputFailed(thrown: unknown): boolean {
  return thrown instanceof Error && "code" in thrown && thrown.code === "OUTPUT_FAILED";
}
