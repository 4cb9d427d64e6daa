import type { Document, FindCursor } from "mongodb";

/** Does this over a connection, for as long as the signal lasts; with the errors of a store. */
export type Asking = <Result>(work: () => Promise<Result>, signal: AbortSignal) => Promise<Result>;

/** What a cursor finds, as it comes; `newSignal` is asked for each step. */
export async function* batchesOf(
  cursor: FindCursor,
  reading: Asking,
  newSignal: () => AbortSignal,
): AsyncGenerator<readonly Document[]> {
  try {
    while (await reading(() => cursor.hasNext(), newSignal())) yield cursor.readBufferedDocuments();
  } finally {
    // Not waited for: a server that is gone forgets it by itself.
    cursor.close().catch(() => {});
  }
}
