import type { Entry, EntryOf, Recorded } from "../ports/journal.ts";
import type { Context } from "../context.ts";
import type { KeyctlError } from "../model/errors.ts";
import type { UserId } from "../model/user-id.ts";
import { retryOnConflict } from "./contention.ts";
import { settleLostAnswer } from "./settle-lost-answer.ts";

/**
 * Inserts an entry and gives the one that is recorded: its own or, where another one was first, that one, which decides.
 * An insert whose answer was lost is read back, and sent again where nothing is recorded: each id has one winner, so that
 * does no harm.
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
    // What was inserted is an entry of its own kind.
    if (isInserted) return recorded as unknown as Recorded<EntryOf<Of["kind"]>>;
    const kind: Of["kind"] = entry.kind;
    return (await journal.entry(user, kind, entry.n, signal)) ?? "conflict";
  };
  return retryOnConflict(user, attempt, () => lost);
}
