import { deadlineIn } from "../async/deadline.ts";
import type { Deadline } from "../async/deadline.ts";
import type { Unknown, UpstreamKeys } from "../ports/openrouter.ts";

/** How old a reading may be, in milliseconds; 0: it begins now. */
export interface Age {
  readonly mostMs: number;
  /** For a reading that failed. */
  readonly mostMsOfFailure: number;
}

interface Reading<List> {
  readonly at: number;
  readonly list: Promise<List | Unknown>;
  failed: boolean;
}

/** One reading of a list, shared by all callers that accept its age. */
export class RecentReading<List> {
  readonly #read: (keys: UpstreamKeys) => Promise<List | Unknown>;
  #last: Reading<List> | undefined;

  constructor(read: (keys: UpstreamKeys) => Promise<List | Unknown>) {
    this.#read = read;
  }

  get(keys: UpstreamKeys, { mostMs, mostMsOfFailure }: Age): Promise<List | Unknown> {
    const now = performance.now();
    const last = this.#last;
    if (last !== undefined && now - last.at < (last.failed ? mostMsOfFailure : mostMs)) return last.list;
    const reading = { at: now, list: this.#read(keys), failed: false };
    this.#last = reading;
    void this.#noteFailure(reading);
    return reading.list;
  }

  async #noteFailure(reading: Reading<List>): Promise<void> {
    try {
      reading.failed = isUnknown(await reading.list);
    } catch {
      reading.failed = true;
    }
  }
}

export function isUnknown(answer: unknown): answer is Unknown {
  return typeof answer === "object" && answer !== null && "status" in answer && answer.status === "unknown";
}

/** The time limit of a page of a reading, which no caller's time cuts short. */
export function newReadingTime(): Deadline {
  return deadlineIn(PAGE_MS, AbortSignal.timeout(PAGE_MS));
}

const PAGE_MS = 20_000;
