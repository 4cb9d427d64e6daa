import type { ErrorCode, KeyctlError } from "../core/errors.ts";
import type { UserId } from "../core/user-id.ts";
import { turnOfTheEventLoop } from "./runner.ts";

/** What would fail for every other user as well. */
const STOPS_ALL: readonly ErrorCode[] = [
  "INTERRUPTED",
  "CONFIG_EMPTY",
  "CONFIG_INVALID",
  "CONFIG_CONFLICT",
  "MASTER_KEY_MISSING",
  "MASTER_KEY_WRONG",
  "STORE_UNAVAILABLE",
  "STORE_CORRUPT",
];

/** One user after the other, each result as soon as it is there. Throws a failure that is not this user's alone. */
export async function* eachAlone<Result extends { readonly error: KeyctlError | null }>(
  batches: AsyncIterable<readonly UserId[]>,
  act: (user: UserId) => Promise<Result>,
): AsyncGenerator<readonly Result[]> {
  for await (const batch of batches) {
    for (const user of batch) {
      await turnOfTheEventLoop();
      const result = await act(user);
      if (result.error !== null && STOPS_ALL.includes(result.error.code)) throw result.error;
      yield [result];
    }
  }
}
