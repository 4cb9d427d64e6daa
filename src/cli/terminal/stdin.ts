import { KeyctlError } from "../../core/model/errors.ts";
import { anySignal, clampTimeout } from "../../core/async/deadline.ts";
import { formatSpan } from "../format-duration.ts";
import { isHangUp, waitForHangUp } from "./hang-up.ts";

/** Standard input: bytes as they arrive, until it is released. */
export type Input = AsyncIterable<Uint8Array> & { destroy(): unknown };

/** All of the input, at most one chunk more than this many bytes. Throws USAGE if it does not end within the time, in milliseconds. */
export async function readUpTo(
  stdin: Input,
  maxBytes: number,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const time = AbortSignal.timeout(clampTimeout(timeoutMs));
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of interruptible(stdin, anySignal(signal, time))) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > maxBytes) break;
    }
  } catch (thrown) {
    throw thrown === time.reason ? endless(timeoutMs) : thrown;
  }
  return Buffer.concat(chunks);
}

function endless(timeoutMs: number): KeyctlError {
  const time = timeoutMs < 1000 ? `${timeoutMs} ms` : formatSpan(timeoutMs);
  return new KeyctlError("USAGE", `standard input did not end within ${time}`, {
    hint: "close it after the key, as in --stdin < key.txt, or give more time with --timeout",
  });
}

/** Input that ends with the signal's reason if that comes first; it is released in any case. */
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
