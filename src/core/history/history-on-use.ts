import type { Warning } from "../model/warning.ts";
import type { History, HistoryOnUse } from "../ports/history.ts";
import type { Note, Recorder, RecorderParts } from "./recorder.ts";
import type { Clock } from "../ports/stores-and-sources.ts";

interface HistoryParts extends RecorderParts, Pick<History, "reason"> {
  readonly clock: Clock;
}

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
  const writeNotes = async () => {
    const recorder = await (opened ??= open());
    const some = notes;
    notes = [];
    if (some.length > 0) await recorder.write(some);
  };
  const withReason = (reason: string | null): HistoryOnUse => ({
    reason,
    withReason,
    note(...changes) {
      const atMs = clock.now().getTime();
      notes.push(...changes.map((change) => ({ change, reason, atMs })));
    },
    write() {
      // One write after the other: the notes of a call may be a part of the write before.
      if (notes.length > 0) written = written.then(writeNotes, writeNotes);
      return written;
    },
    takeWarnings() {
      const warnings = lost === undefined ? [] : [lost];
      lost = undefined;
      return warnings;
    },
  });
  return withReason(ofManager);
}
