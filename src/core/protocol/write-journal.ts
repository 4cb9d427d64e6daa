import { isKeyctlError } from "../model/errors.ts";
import type { Entry, EntryOf, Journal, Recorded } from "../ports/journal.ts";
import type { Context } from "../context.ts";
import type { UserId } from "../model/user-id.ts";
import { MAX_CONFLICT_RETRIES, conflictError } from "./contention.ts";

/**
 * Inserts an entry and gives what stands there: its own or, when the insert was lost, the winner's, which is to be
 * obeyed. An insert that was not answered is read, and sent again where nothing stands: each id has one winner, so
 * that does no harm.
 */
export async function appendEntry<Of extends Entry>(
  user: UserId,
  entry: Of,
  { journal, clock }: Pick<Context, "journal" | "clock">,
  signal: AbortSignal,
): Promise<Recorded<EntryOf<Of["kind"]>>> {
  const recorded = { ...entry, userId: user, at: clock.now().toISOString() };
  for (let attempt = 0; attempt < MAX_CONFLICT_RETRIES; attempt += 1) {
    // What was inserted is an entry of its own kind.
    if (await inserted(journal, recorded, signal)) return recorded as unknown as Recorded<EntryOf<Of["kind"]>>;
    const kind: Of["kind"] = entry.kind;
    const stands = await journal.entry(user, kind, entry.n, signal);
    if (stands !== undefined) return stands;
  }
  throw conflictError(user);
}

/** False when it was lost, or nobody said. */
async function inserted(journal: Journal, entry: Recorded, signal: AbortSignal): Promise<boolean> {
  try {
    return await journal.insertEntry(entry, signal);
  } catch (thrown) {
    if (isKeyctlError(thrown) && thrown.mayHaveHappened) return false;
    throw thrown;
  }
}
