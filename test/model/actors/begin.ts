import type { Command } from "../command.ts";
import { isDraft, recordBlock } from "./draft-block.ts";
import { listDue } from "./finish.ts";
import { giving } from "./given.ts";
import { lookingAgain, lookUpLeaked } from "./leaked.ts";
import { readLastOperation } from "./operation.ts";
import { purgingNobody } from "./purge.ts";
import { judge, listUpstream } from "./reconcile.ts";
import { readRow } from "./settle.ts";
import type { Found } from "./settle.ts";
import { listSpool } from "./spool.ts";
import { liftBlock, NOT_BLOCKED } from "./unblock.ts";
import { beginPlainer } from "../plainer/commands.ts";
import { ended, to } from "../step.ts";
import type { Move, Place } from "../step.ts";

/** The start of a command: it imports spooled keys before its first read of the row. */
export function begin(command: Command): Place {
  if (command.protocol !== "row first") return beginPlainer(command);
  // The rotation of a leaked key begins with the spool.
  if (command.kind === "leaked") return lookUpLeaked(command);
  return command.spool && command.kind !== "unblock" ? to(listSpool, {}) : stepOne(command);
}

/** A reconcile lists upstream before it reads any record, a finish lists what is due; others read the row. */
export function stepOne(command: Command): Place {
  const { kind } = command;
  if (kind === "finish") return to(listDue, {});
  if (kind === "reconcile") return to(listUpstream, {});
  return isDraft(command) ? to(recordBlock, { after: to(readRow, {}) }) : to(readRow, {});
}

/** What each command does for a blocked user. */
export function refusing(memory: Found, command: Command): Move {
  const { row, listed } = memory;
  if (listed !== null) return judge(listed);
  switch (command.kind) {
    case "purge":
      return purgingNobody({ isBlocked: true }, command);
    case "unblock":
      return to(liftBlock, { row });
    case "leaked":
      return lookingAgain();
    default:
      return ended("BLOCKED");
  }
}

/** The next move of each command for a user without a row. */
export function withoutRow(command: Command): Move {
  const { kind, key } = command;
  switch (kind) {
    case "save":
      return giving(null, command);
    case "purge":
      return purgingNobody({ isBlocked: false }, command);
    case "unblock":
      return NOT_BLOCKED;
    case "rotate":
    case "renew":
      return ended("NO_KEY");
    case "leaked":
      return lookingAgain();
    default:
      // A key in key.txt or in the environment needs no operation.
      return key === null ? to(readLastOperation, { rotation: null, opens: kind === "sync" }) : giving(null, command);
  }
}
