import { formatNumber } from "../../core/text/format.ts";
import { formatRemaining } from "../format-duration.ts";
import type { Terminal } from "../terminal/terminal.ts";

/** Found out in a part that takes a second; undefined if it cannot be known. */
type Total = number | (() => Promise<number | undefined>);

/** A part of a run. */
interface ProgressPart {
  /** `rekey`, `reconcile: keys at OpenRouter`. */
  readonly what: string;
  /** The things that `update` counts, in the plural. */
  readonly unit?: string;
  readonly total?: Total | undefined;
}

/**
 * What a run is doing, on stderr, from its first second on: `sync: 1,200 of 5,000 users, 240/s, 16s left`. On a terminal
 * it is one line that changes in place; elsewhere it is a note every 30 s.
 */
export interface Progress {
  /** Begins a part of the run, and counts from 0. */
  begin(part: ProgressPart): void;
  /** `total` if it became known, or changed. A smaller `done` than before begins to count anew. */
  update(done: number, total?: number): void;
  stop(): void;
}

/** In milliseconds. */
export interface ProgressTimes {
  /** Shorter runs show nothing on a terminal. */
  readonly first: number;
  readonly onTerminal: number;
  readonly elsewhere: number;
}

const TIMES: ProgressTimes = { first: 1_000, onTerminal: 200, elsewhere: 30_000 };

/** The progress of a run that begins now. */
export function startProgress(terminal: Terminal, what: string, times: ProgressTimes = TIMES): Progress {
  const started = performance.now();
  let part = new Counted({ what });
  const show = () => {
    if (!terminal.options.animates) terminal.note(part.line());
    else if (performance.now() - started >= times.first) terminal.status(part.line());
  };
  // A run that is over must not wait for a timer.
  const timer = setInterval(show, terminal.options.animates ? times.onTerminal : times.elsewhere).unref();
  let asking: NodeJS.Timeout | undefined;
  return {
    begin(next) {
      const begun = new Counted(next);
      part = begun;
      clearTimeout(asking);
      asking = setTimeout(() => void begun.findTotal(), times.first).unref();
    },
    update: (done, total) => part.update(done, total),
    stop() {
      clearInterval(timer);
      clearTimeout(asking);
      terminal.status("");
    },
  };
}

class Counted {
  readonly #part: ProgressPart;
  #started = performance.now();
  #total: number | undefined;
  #done = 0;

  constructor(part: ProgressPart) {
    this.#part = part;
    if (typeof part.total === "number") this.#total = part.total;
  }

  update(done: number, total = this.#total): void {
    if (done < this.#done) this.#started = performance.now();
    this.#done = done;
    this.#total = total;
  }

  line(): string {
    const [done, total] = [this.#done, this.#total];
    const elapsedMs = performance.now() - this.#started;
    const { what, unit = "users" } = this.#part;
    const of = total === undefined ? "" : ` of ${formatNumber(Math.max(total, done))}`;
    const parts = done === 0 && total === undefined ? [] : [`${formatNumber(done)}${of} ${unit}`];
    if (done === 0) parts.push(formatRemaining(elapsedMs));
    else parts.push(rateOf(done, elapsedMs));
    if (total !== undefined && total > done && done > 0)
      parts.push(`${formatRemaining((elapsedMs / done) * (total - done))} left`);
    return `${what}: ${parts.join(", ")}`;
  }

  /** A failed count is ignored: the line does without. */
  async findTotal(): Promise<void> {
    if (typeof this.#part.total === "function") this.#total ??= await this.#part.total().catch(() => undefined);
  }
}

/** `240/s`, `2.5/s`, `12/min`. */
function rateOf(done: number, elapsedMs: number): string {
  const perSecond = done / Math.max(0.001, elapsedMs / 1000);
  if (perSecond >= 10) return `${formatNumber(perSecond)}/s`;
  if (perSecond >= 1) return `${perSecond.toFixed(1)}/s`;
  const perMinute = perSecond * 60;
  return `${perMinute.toFixed(perMinute < 10 ? 1 : 0)}/min`;
}
