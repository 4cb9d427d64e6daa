import type { Document, FindCursor } from "mongodb";

/** Runs the work over a connection until the signal is aborted. Rejects with the errors of a store. */
export type Asking = <Result>(work: () => Promise<Result>, signal: AbortSignal) => Promise<Result>;

/** The documents of a cursor in batches, as they arrive; `newSignal` is called for each batch. */
export async function* batchesOf(
  cursor: FindCursor,
  reading: Asking,
  newSignal: () => AbortSignal,
): AsyncGenerator<readonly Document[]> {
  try {
    while (await reading(() => cursor.hasNext(), newSignal())) yield cursor.readBufferedDocuments();
  } finally {
    // Not awaited: a server that is gone drops the cursor by itself.
    cursor.close().catch(() => {});
  }
}
