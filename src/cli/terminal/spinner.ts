import ora from "ora";
import type { Ora } from "ora";

/**
 * A line on stderr that moves, until it is stopped; its `text` may change. None on a terminal without a width: ora would
 * divide by it. The cursor stays visible: whatever ends the process, nobody has to bring it back, and ora listens to no signal.
 */
export function startSpinner(): Ora | undefined {
  if (!process.stderr.columns) return undefined;
  return ora({ stream: process.stderr, discardStdin: false, hideCursor: false }).start();
}
