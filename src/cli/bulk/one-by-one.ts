import type { UserId } from "../../core/user-id.ts";
import { turnOfTheEventLoop } from "../runner.ts";

/** A signal may come in before each user. */
export async function* oneByOne(batches: AsyncIterable<readonly UserId[]>): AsyncGenerator<readonly [UserId]> {
  for await (const batch of batches) {
    for (const user of batch) {
      await turnOfTheEventLoop();
      yield [user];
    }
  }
}
