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

/** Calls when it is first asked, and gives every caller the same result; a failure is kept. */
export function onFirstUse<Result>(load: () => Promise<Result>): () => Promise<Result> {
  let known: Promise<Result> | undefined;
  return () => (known ??= load());
}
