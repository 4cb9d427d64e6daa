import type { UserId } from "../core/user-id.ts";

/** One user after the other, each result as soon as it is there. */
export async function* eachAlone<Result>(
  batches: AsyncIterable<readonly UserId[]>,
  act: (user: UserId) => Promise<Result>,
): AsyncGenerator<readonly Result[]> {
  for await (const batch of batches) {
    for (const user of batch) yield [await act(user)];
  }
}
