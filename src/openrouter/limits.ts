/** What is read of an answer at most; its rest is never fetched. */
export const MAX_REPLY_BYTES = 64 * 1024;
/** Of a page of a list. */
export const MAX_PAGE_BYTES = 1024 * 1024;

/** How long one attempt waits for what, in milliseconds. */
export interface Deadlines {
  readonly connect: number;
  readonly headers: number;
  /** Between two parts of a body. */
  readonly body: number;
  /** For all of it. */
  readonly attempt: number;
  /** For all of a creation, and each of its parts but the connection: a key that comes late is better than one that must be looked for. */
  readonly creation: number;
}

export const DEADLINES: Deadlines = {
  connect: 5_000,
  headers: 10_000,
  body: 5_000,
  attempt: 15_000,
  creation: 20_000,
};
