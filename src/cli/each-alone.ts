import { CONCERNS_ALL } from "../core/errors.ts";
import type { KeyctlError } from "../core/errors.ts";
import type { UserId } from "../core/user-id.ts";
import { turnOfTheEventLoop } from "./runner.ts";

/** One user after the other, each result as soon as it is there. Throws a failure that is not this user's alone. */
export async function* eachAlone<Result extends { readonly error: KeyctlError | null }>(
  batches: AsyncIterable<readonly UserId[]>,
  act: (user: UserId) => Promise<Result>,
): AsyncGenerator<readonly Result[]> {
  for await (const [user] of oneByOne(batches)) {
    const result = await act(user);
    if (result.error !== null && CONCERNS_ALL.has(result.error.code)) throw result.error;
    yield [result];
  }
}

/** A signal may come in before each user. */
export async function* oneByOne(batches: AsyncIterable<readonly UserId[]>): AsyncGenerator<readonly [UserId]> {
  for await (const batch of batches) {
    for (const user of batch) {
      await turnOfTheEventLoop();
      yield [user];
    }
  }
}
