import type { Entry, EntryOf, Recorded } from "../ports/journal.ts";
import type { Context } from "../context.ts";
import type { KeyctlError } from "../model/errors.ts";
import type { UserId } from "../model/user-id.ts";
import { retryOnConflict } from "./contention.ts";
import { settleLostAnswer } from "./settle-lost-answer.ts";

/**
 * Inserts an entry and returns the recorded one: its own or, if another command was first, that one, which decides. An
 * insert whose answer was lost is read back, and resent if nothing is recorded: safe, because each id has one winner.
 */
export async function appendEntry<Of extends Entry>(
  user: UserId,
  entry: Of,
  { journal, clock }: Pick<Context, "journal" | "clock">,
  signal: AbortSignal,
): Promise<Recorded<EntryOf<Of["kind"]>>> {
  const recorded = { ...entry, userId: user, at: clock.now().toISOString() };
  let lost: KeyctlError | undefined;
  const attempt = async () => {
    lost = undefined;
    const isInserted = await settleLostAnswer(
      () => journal.insertEntry(recorded, signal),
      async (failure) => {
        lost = failure;
        return false;
      },
    );
    // An id holds only entries of its own kind.
    if (isInserted) return recorded as unknown as Recorded<EntryOf<Of["kind"]>>;
    const kind: Of["kind"] = entry.kind;
    return (await journal.entry(user, kind, entry.n, signal)) ?? "conflict";
  };
  return retryOnConflict(user, attempt, () => lost);
}
