import type { Unknown, UpstreamKeys } from "../ports/openrouter.ts";

/** How old a reading may be, in milliseconds; 0: it begins now. */
export interface Age {
  readonly mostMs: number;
  /** For a reading that failed. */
  readonly mostMsOfFailure: number;
}

/** One reading of a list, shared by all callers that accept its age. */
export class RecentReading<List> {
  readonly #read: (keys: UpstreamKeys) => Promise<List | Unknown>;
  #last: { readonly at: number; readonly list: Promise<List | Unknown>; failed: boolean } | undefined;

  constructor(read: (keys: UpstreamKeys) => Promise<List | Unknown>) {
    this.#read = read;
  }

  get(keys: UpstreamKeys, { mostMs, mostMsOfFailure }: Age): Promise<List | Unknown> {
    const now = performance.now();
    const last = this.#last;
    if (last !== undefined && now - last.at < (last.failed ? mostMsOfFailure : mostMs)) return last.list;
    const reading = { at: now, list: this.#read(keys), failed: false };
    this.#last = reading;
    const fail = () => {
      reading.failed = true;
    };
    reading.list.then((list) => {
      if (isUnknown(list)) fail();
    }, fail);
    return reading.list;
  }
}

export function isUnknown(answer: unknown): answer is Unknown {
  return typeof answer === "object" && answer !== null && "status" in answer && answer.status === "unknown";
}
