import type { UserId } from "../../core/model/user-id.ts";
import { yieldToEventLoop } from "../../core/async/sleep.ts";

/** Checks for a signal and the end of --stop-after before each user. */
export async function* oneByOne(
  batches: AsyncIterable<readonly UserId[]>,
  stop: AbortSignal | undefined,
): AsyncGenerator<readonly [UserId]> {
  for await (const batch of batches) {
    for (const user of batch) {
      await yieldToEventLoop();
      if (stop?.aborted === true) return;
      yield [user];
    }
  }
}
