import type { UserId } from "../../core/model/user-id.ts";
import { yieldToEventLoop } from "../../core/async/sleep.ts";

/** A signal may come in before each user, and the time of --stop-after be over. */
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
