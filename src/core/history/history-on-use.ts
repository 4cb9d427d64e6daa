import { withTimeLimit } from "../async/deadline.ts";
import { raceSignal } from "../async/race-signal.ts";
import { notWritten } from "../model/history-event.ts";
import type { Warning } from "../model/warning.ts";
import type { History, HistoryOnUse } from "../ports/history.ts";
import type { Note, Recorder, RecorderParts } from "./recorder.ts";
import type { Clock } from "../ports/stores-and-sources.ts";

interface HistoryParts extends RecorderParts, Pick<History, "reason"> {
  readonly clock: Clock;
}

/** How long a call waits for its notes. A slow write goes on while the call returns. */
const PATIENCE_MS = 500;

/** A history whose code is loaded with the first note: most calls change nothing. */
export function historyOnUse({ reason: ofManager, clock, ...parts }: HistoryParts): HistoryOnUse {
  let notes: Note[] = [];
  let lost: Warning | undefined;
  let opened: Promise<Recorder> | undefined;
  let written = Promise.resolve();
  const open = async () => {
    const { Recorder: Opened } = await import("./recorder.ts");
    return new Opened(parts, (warning) => (lost ??= warning));
  };
  /** Never rejects: what was changed is done, whatever becomes of its note. */
  const writeNotes = async () => {
    const some = notes;
    notes = [];
    try {
      const recorder = await (opened ??= open());
      if (some.length > 0) await recorder.write(some);
    } catch {
      opened = undefined;
      lost ??= notWritten("an unexpected error");
    }
  };
  const withReason = (reason: string | null): HistoryOnUse => ({
    reason,
    withReason,
    note(...changes) {
      const atMs = clock.now().getTime();
      notes.push(...changes.map((change) => ({ change, reason, atMs })));
    },
    async write() {
      if (notes.length === 0) return;
      // One write after the other: the notes of a call may be a part of the write before.
      written = written.then(writeNotes);
      await withTimeLimit({ timeoutMs: PATIENCE_MS }, (signal) => raceSignal(written, signal).catch(() => {}));
    },
    flush: () => written,
    takeWarnings() {
      const warnings = lost === undefined ? [] : [lost];
      lost = undefined;
      return warnings;
    },
  });
  return withReason(ofManager);
}
