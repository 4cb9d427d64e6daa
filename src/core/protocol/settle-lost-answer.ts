import { isKeyctlError } from "../model/errors.ts";
import type { KeyctlError } from "../model/errors.ts";

/**
 * The answer of a write or, where it was sent and its answer was lost, what `settle` finds out. **Invariant:** a write whose
 * answer was lost may yet land: it is settled by reading, and sent again only where that does no harm.
 */
export async function settleLostAnswer<Answer, Settled>(
  write: () => Promise<Answer>,
  settle: (lost: KeyctlError) => Promise<Settled>,
): Promise<Answer | Settled> {
  try {
    return await write();
  } catch (thrown) {
    if (!isKeyctlError(thrown) || !thrown.mayHaveHappened) throw thrown;
    return settle(thrown);
  }
}
