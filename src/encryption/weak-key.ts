/** Fewer than one in 10^36 random keys has fewer different bytes. */
const MIN_DISTINCT = 8;

/**
 * Whether a master key follows a pattern that is easy to guess: zeros, one byte or a short text that repeats, bytes
 * that count up or down. No random key does.
 */
export function isGuessable(bytes: Uint8Array): boolean {
  const steps = new Set(Array.from(bytes.subarray(1), (byte, index) => (byte - (bytes[index] ?? 0)) & 0xff));
  return steps.size <= 1 || new Set(bytes).size < MIN_DISTINCT;
}
