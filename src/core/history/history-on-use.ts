import type { Warning } from "../model/warning.ts";
import type { History, HistoryOnUse } from "../ports/history.ts";
import type { Recorder, RecorderParts } from "./recorder.ts";

/** A history whose code is loaded with the first note: most calls change nothing. */
export function historyOnUse(parts: RecorderParts & Pick<History, "reason">): HistoryOnUse {
  let lost: Warning | undefined;
  let opened: Promise<Recorder> | undefined;
  const open = async () => {
    const { Recorder: Opened } = await import("./recorder.ts");
    return new Opened(parts, (warning) => (lost ??= warning));
  };
  const withReason = (reason: string | null): HistoryOnUse => ({
    reason,
    withReason,
    async record(...changes) {
      if (changes.length > 0) await (await (opened ??= open())).record(changes, reason);
    },
    takeWarnings() {
      const warnings = lost === undefined ? [] : [lost];
      lost = undefined;
      return warnings;
    },
  });
  return withReason(parts.reason);
}
