import type { UserId } from "../../core/model/user-id.ts";
import { yieldToEventLoop } from "../../core/async/sleep.ts";

/** A signal may come in before each user. */
export async function* oneByOne(batches: AsyncIterable<readonly UserId[]>): AsyncGenerator<readonly [UserId]> {
  for await (const batch of batches) {
    for (const user of batch) {
      await yieldToEventLoop();
      yield [user];
    }
  }
}
