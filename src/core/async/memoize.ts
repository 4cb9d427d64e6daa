/** Calls once and keeps the result; a failure is not kept. */
export function memoizeAsync<Result>(
  ask: (signal: AbortSignal) => Promise<Result>,
): (signal: AbortSignal) => Promise<Result> {
  let known: { readonly answer: Result } | undefined;
  return async (signal) => {
    known ??= { answer: await ask(signal) };
    return known.answer;
  };
}
