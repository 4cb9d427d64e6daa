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
  ended: boolean;
}

/**
 * One reading of a list, shared by all callers that accept its age. Callers who want one that begins now share the next one:
 * two readings are never under way, however many keys are changed at once.
 */
export class RecentReading<List> {
  readonly #read: (keys: UpstreamKeys) => Promise<List | Unknown>;
  #last: Reading<List> | undefined;
  #next: Promise<List | Unknown> | undefined;

  constructor(read: (keys: UpstreamKeys) => Promise<List | Unknown>) {
    this.#read = read;
  }

  get(keys: UpstreamKeys, { mostMs, mostMsOfFailure }: Age): Promise<List | Unknown> {
    const now = performance.now();
    const last = this.#last;
    if (last !== undefined && now - last.at < (last.failed ? mostMsOfFailure : mostMs)) return last.list;
    if (last === undefined || last.ended) return this.#begin(keys);
    return (this.#next ??= this.#after(last, keys));
  }

  #begin(keys: UpstreamKeys): Promise<List | Unknown> {
    const reading = { at: performance.now(), list: this.#read(keys), failed: false, ended: false };
    this.#last = reading;
    void this.#noteEnd(reading);
    return reading.list;
  }

  async #after(last: Reading<List>, keys: UpstreamKeys): Promise<List | Unknown> {
    await this.#noteEnd(last);
    this.#next = undefined;
    return this.#begin(keys);
  }

  async #noteEnd(reading: Reading<List>): Promise<void> {
    try {
      reading.failed = isUnknown(await reading.list);
    } catch {
      reading.failed = true;
    }
    reading.ended = true;
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
