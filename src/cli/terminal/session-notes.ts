import { silent } from "../../core/model/log-event.ts";
import type { Log, LogEvent } from "../../core/model/log-event.ts";
import type { RetryPause } from "../../core/ports/openrouter.ts";
import type { SessionOptions } from "../invocation.ts";
import type { Terminal } from "./terminal.ts";
import type { Warning } from "../../core/model/warning.ts";

/** Saves, OpenRouter's answers, and failures: for commands whose result shows the rest. */
const CHANGES: readonly LogEvent["kind"][] = [
  "malformed",
  "unreadable",
  "saved",
  "not-saving",
  "validating",
  "validated",
  "invalid",
  "not-validated",
  "renewal-due",
  "renewing",
  "renewed",
  "renewal-failed",
];

/** Many keys that wait at the same time are reported once. */
const NOTE_INTERVAL_MS = 5_000;

/** Called before each wait for OpenRouter. */
export function pauseNotes(terminal: Terminal): (pause: RetryPause) => void {
  let quietUntil = 0;
  return ({ detail, waitMs }) => {
    if (Date.now() < quietUntil) return;
    quietUntil = Date.now() + NOTE_INTERVAL_MS;
    terminal.note(`OpenRouter ${detail}; asking again in ${(waitMs / 1000).toFixed(1)}s`);
  };
}

export function logFor(terminal: Terminal, logs: SessionOptions["logs"]): Log {
  if (logs === "none") return silent;
  return (event) => {
    if (logs === "all" || CHANGES.includes(event.kind)) terminal.log(event);
  };
}

/** Notes and warnings about master-key files. */
export function masterKeyNotices(
  terminal: Terminal,
  storeKind: "sqlite" | "mongodb",
  { withoutNotices }: Pick<SessionOptions, "withoutNotices">,
) {
  return {
    generated: (path: string) =>
      terminal.note(`created the first master key: ${path}; back it up: without it, the keys in the database are lost`),
    added: (path: string) => {
      terminal.note(
        `added a new master key in front of those in ${path}; back up that file again, older keys included`,
      );
      if (storeKind === "mongodb")
        terminal.warning(`other machines need a copy of ${path} now, to decrypt what is encrypted from now on`);
    },
    guessable(kid: string, place: string) {
      if (withoutNotices === true) return;
      const message = `master key ${kid} in ${place} follows a pattern, so that anybody can guess it and open what it seals; keyctl rekey   replaces it`;
      terminal.runWarning({ code: "MASTER_KEY_GUESSABLE", message });
    },
    readableByOthers(warning: Warning) {
      if (withoutNotices !== true) terminal.warnOnce(warning);
    },
  };
}
