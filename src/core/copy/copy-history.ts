import { toKeyctlError } from "../async/deadline.ts";
import { batched } from "../async/batched.ts";
import type { HistoryStore } from "../ports/history.ts";
import type { Warning } from "../model/warning.ts";

/** The history of the source, at the end of a copy. `events` counts those that are in the destination now. */
export type HistoryOutcome = { readonly kind: "history"; readonly events: number; readonly error: null } & (
  | { readonly outcome: "copied"; readonly warning: null }
  /** HISTORY_NOT_WRITTEN. */
  | { readonly outcome: "incomplete"; readonly warning: Warning }
);

/** Small enough for a commit that takes well under 50 ms. */
const BATCH = 500;

/** Adds the events that are not there yet. A failure costs the copy nothing: no key depends on the history. */
export async function copyHistory(
  { source, destination }: { readonly source: HistoryStore; readonly destination: HistoryStore },
  newSignal: () => AbortSignal,
): Promise<HistoryOutcome> {
  let events = 0;
  try {
    for await (const batch of batched(source.events({}, newSignal), BATCH)) {
      await destination.addEvents(batch, { replaces: false }, newSignal());
      events += batch.length;
    }
    return { kind: "history", outcome: "copied", events, warning: null, error: null };
  } catch (thrown) {
    const failure = toKeyctlError(thrown);
    if (failure.code === "INTERRUPTED") throw failure;
    const message = `the history was not copied completely: ${failure.message}; copy again`;
    const warning = { code: "HISTORY_NOT_WRITTEN", message } as const;
    return { kind: "history", outcome: "incomplete", events, warning, error: null };
  }
}
