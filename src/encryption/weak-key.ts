/** Of 32 random bytes, so few are different in one case of 10^36. */
const MIN_DISTINCT = 8;

/**
 * Whether a master key follows a pattern that anybody would try: zeros, one byte or a short text again and again, bytes
 * that count up or down. No random key does.
 */
export function isGuessable(bytes: Uint8Array): boolean {
  const steps = new Set(Array.from(bytes.subarray(1), (byte, index) => (byte - (bytes[index] ?? 0)) & 0xff));
  return steps.size <= 1 || new Set(bytes).size < MIN_DISTINCT;
}
