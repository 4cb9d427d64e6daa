import { isHangUp, waitForHangUp } from "./terminal/hang-up.ts";

/** Standard input: bytes as they come, until somebody lets go of it. */
export type Input = AsyncIterable<Uint8Array> & { destroy(): unknown };

/** All of it, and one chunk over this many bytes at the most. */
export async function readUpTo(stdin: Input, maxBytes: number, signal: AbortSignal): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of interruptible(stdin, signal)) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > maxBytes) break;
  }
  return Buffer.concat(chunks);
}

/** Input that ends with the signal's reason when that comes first; it is let go of in any case. */
export async function* interruptible(stdin: Input, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const stop = () => stdin.destroy();
  signal.addEventListener("abort", stop, { once: true });
  try {
    yield* stdin;
  } catch (thrown) {
    if (isHangUp(thrown)) await waitForHangUp(signal);
    signal.throwIfAborted();
    throw thrown;
  } finally {
    signal.removeEventListener("abort", stop);
    stdin.destroy();
  }
  signal.throwIfAborted();
}
