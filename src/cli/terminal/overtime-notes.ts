import type { OnOvertime, Stage } from "../../core/protocol/shared-user-runs.ts";
import type { UserId } from "../../core/model/user-id.ts";
import type { Terminal } from "./terminal.ts";

/** The protocol's own limits, which apply from the POST on. */
const WAITS: Readonly<Record<Stage, (user: UserId) => string>> = {
  answer: (user) => `up to 20s for OpenRouter's answer: it may have created a key for user ${user}`,
  search: (user) => `up to 20s for OpenRouter, to remove the key that it may have created for user ${user}`,
  storage: (user) => `up to 10s for the database, to store the key that was created for user ${user}`,
};
/** Among many users that wait at the same time, only one is named. */
const INTERVAL_MS = 5_000;

/** Reports what a run keeps waiting for after its time is over: a key that may exist is not given up. */
export function overtimeNotes(terminal: Terminal): OnOvertime {
  let last: UserId | undefined;
  let quietUntil = 0;
  return (user, stage) => {
    if (user !== last && Date.now() < quietUntil) return;
    last = user;
    quietUntil = Date.now() + INTERVAL_MS;
    terminal.note(`timed out; still waiting ${WAITS[stage](user)}`);
  };
}
