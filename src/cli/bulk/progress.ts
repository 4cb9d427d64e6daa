import { formatSpan } from "../format-duration.ts";
import { formatNumber } from "../../core/text/format.ts";

const PLAIN_INTERVAL_MS = 30_000;
const TERMINAL_INTERVAL_MS = 200;

/** The progress of a bulk run on stderr: a spinner on a terminal, otherwise a plain line every 30 s. */
export interface Progress {
  /** `part` is the finished share of the work, from 0 to 1, if known. */
  update(done: number, part: number | undefined): void;
  /** Hides the line until the next update. */
  clear(): void;
  stop(): void;
}

export interface ProgressOptions {
  readonly spinner: boolean;
  readonly verb: string;
  readonly say: (line: string) => void;
}

export async function startProgress({ spinner, verb, say }: ProgressOptions): Promise<Progress> {
  const spun = spinner ? (await import("../terminal/spinner.ts")).startSpinner() : undefined;
  const interval = spun === undefined ? PLAIN_INTERVAL_MS : TERMINAL_INTERVAL_MS;
  const start = Date.now();
  let last = start;
  return {
    update(done, part) {
      const now = Date.now();
      if (now - last < interval) return;
      last = now;
      const line = describe(verb, done, part, now - start);
      if (spun === undefined) say(line);
      else spun.text = line;
    },
    clear: () => void spun?.clear(),
    stop: () => void spun?.stop(),
  };
}

function describe(verb: string, done: number, part: number | undefined, elapsed: number): string {
  const rate = Math.round(done / (elapsed / 1000));
  const left = part === undefined || part === 0 ? "" : `, ${formatSpan((elapsed * (1 - part)) / part)} left`;
  return `${verb}: ${formatNumber(done)} users, ${formatNumber(rate)}/s${left}`;
}
