import type { Command } from "../command.ts";
import { listDue } from "./finish.ts";
import { giving } from "./given.ts";
import { readLastOperation } from "./operation.ts";
import { readRecords } from "./purge.ts";
import { listUpstream } from "./reconcile.ts";
import { readRow } from "./settle.ts";
import { listSpool } from "./spool.ts";
import { beginPlainer } from "../plainer/commands.ts";
import { ended, to } from "../step.ts";
import type { Move, Place } from "../step.ts";

/** The start of a command: it imports spooled keys before its first read of the row. */
export function begin(command: Command): Place {
  if (command.protocol !== "row first") return beginPlainer(command);
  return command.spool ? to(listSpool, {}) : stepOne(command);
}

/** A reconcile lists upstream before it reads any record, a finish lists what is due; others read the row. */
export function stepOne({ kind }: Command): Place {
  if (kind === "finish") return to(listDue, {});
  return kind === "reconcile" ? to(listUpstream, {}) : to(readRow, {});
}

/** The next move of each command for a user without a row. */
export function withoutRow(command: Command): Move {
  const { kind, key, revoke, breach } = command;
  switch (kind) {
    case "save":
      return giving(null, command);
    case "purge":
      return revoke === "no" || breach === "purge-finishes-nothing" ? ended("nothing to purge") : to(readRecords, {});
    case "rotate":
      return ended("NO_KEY");
    default:
      // A key in key.txt or in the environment needs no operation.
      return key === null ? to(readLastOperation, { rotation: null, opens: kind === "sync" }) : giving(null, command);
  }
}
