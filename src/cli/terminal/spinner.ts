import ora from "ora";
import type { Ora } from "ora";

/**
 * An animated line on stderr, until it is stopped; its `text` may change. None on a terminal without a width, by which ora
 * would divide. The cursor stays visible, so it needs no restoring however the process ends, and ora handles no signals.
 */
export function startSpinner(): Ora | undefined {
  if (!process.stderr.columns) return undefined;
  return ora({ stream: process.stderr, discardStdin: false, hideCursor: false }).start();
}
