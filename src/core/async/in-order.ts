/**
 * The results of this work for each item, in the order of the items, so many at once and in constant memory. If an item cannot
 * be had, or some work rejects, no further work begins, the results of what is under way are yielded, and then that is thrown.
 */
export async function* inOrder<Item, Result>(
  items: AsyncIterable<Item> | Iterable<Item>,
  atOnce: number,
  work: (item: Item) => Promise<Result>,
): AsyncGenerator<Result> {
  const pending: Promise<Result>[] = [];
  let failure: { readonly thrown: unknown } | undefined;
  try {
    for await (const item of items) {
      const result = work(item);
      // It is awaited in its turn.
      result.catch(() => {});
      pending.push(result);
      if (pending.length < atOnce) continue;
      const first = pending.shift();
      if (first !== undefined) yield await first;
    }
  } catch (thrown) {
    failure = { thrown };
  }
  for (const result of pending) {
    try {
      yield await result;
    } catch (thrown) {
      failure ??= { thrown };
    }
  }
  if (failure !== undefined) throw failure.thrown;
}
