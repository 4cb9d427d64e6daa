import type { CallOptions } from "../async/deadline.ts";
import type { HistoryQuery, ManagerContext } from "./manager-options.ts";
import { KeyctlError } from "../model/errors.ts";
import type { HistoryEvent } from "../model/history-event.ts";
import { parseReason } from "../model/reason.ts";
import type { SyncResult } from "../model/results.ts";
import { parseUserId } from "../model/user-id.ts";
import type { Warning } from "../model/warning.ts";
import type { OpenWork } from "../open-work.ts";
import type { Change, HistoryFilter } from "../ports/history.ts";
import { KEY_HASH } from "../model/key-hash.ts";

/** The context of one call, which may have a reason of its own. Throws USAGE. */
export function contextFor(context: ManagerContext, { reason }: Pick<CallOptions, "reason">): ManagerContext {
  return reason === undefined ? context : { ...context, history: context.history.withReason(parseReason(reason)) };
}

/** Throws BAD_USER_ID, and USAGE for a hash or a time that is none. */
export async function* eventsOf(
  query: HistoryQuery,
  options: CallOptions,
  { historyStore, history }: Pick<ManagerContext, "historyStore" | "history">,
  work: OpenWork,
): AsyncGenerator<HistoryEvent> {
  const filter = filterOf(query);
  // The events of this manager's own calls are among them.
  await history.flush();
  yield* historyStore.events(filter, work.newSignal(options));
}

export async function noteRevealed(
  found: readonly SyncResult[],
  { history }: Pick<ManagerContext, "history">,
): Promise<readonly Warning[]> {
  const revealed = found.flatMap(({ userId, key }): readonly Change[] => {
    if (key === null) return [];
    const about = { keyHash: key.hash, keyTail: key.tail, generation: 0 };
    return [{ event: "revealed", userId: parseUserId(userId), key: about }];
  });
  history.note(...revealed);
  await history.write();
  return history.takeWarnings();
}

function filterOf({ userId, keyHash, since }: HistoryQuery): HistoryFilter {
  if (keyHash !== undefined && !KEY_HASH.test(keyHash)) {
    throw new KeyctlError("USAGE", "keyHash is the SHA-256 of a key: 64 characters from 0 to 9 and a to f", {
      hint: "a result has it as key.hash",
    });
  }
  if (since !== undefined && !(since instanceof Date && !Number.isNaN(since.getTime()))) {
    throw new KeyctlError("USAGE", "since is a valid Date", { hint: "since: new Date(Date.now() - 7 * 86_400_000)" });
  }
  return { user: userId === undefined ? undefined : parseUserId(userId), keyHash, since: since?.toISOString() };
}
