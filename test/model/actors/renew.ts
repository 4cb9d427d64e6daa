import type { Row } from "../accesses.ts";
import type { Command } from "../command.ts";
import { handingOut } from "./last-look.ts";
import { beginRotation } from "./rotate.ts";
import { listOf, where } from "../step.ts";
import type { Moves } from "../step.ts";

/**
 * A renewal is a rotation without a grace of the key that was refused. **Invariant:** it replaces no other key. A lost
 * race starts over, and finds the winner's key in the row.
 */

/** The row holds another key than the refused one. That key is the answer. */
export function isReplacedAlready({ hash }: Row, { kind, about, breach }: Command): boolean {
  return kind === "renew" && hash !== about && breach !== "renew-blind";
}

/**
 * OpenRouter is asked whether the key is dead; without a clear answer, the command ends. This takes its time, so a key that
 * works is looked at once more.
 */
export function confirmingRefusal(row: Row, command: Command): Moves {
  const hash = command.about ?? "";
  return [
    ...where({ hash, works: true }, handingOut(row, command)),
    ...where({ hash, works: false }, replacing(row, command)),
  ];
}

/** What was left of the limit of a deleted key is not known: its successor has the whole limit again. */
function replacing(row: Row, command: Command): Moves {
  const isLowered = row.limitDue !== null || command.limitDue !== null;
  const whole = beginRotation(row, { ...command, namesLimit: true });
  return isLowered ? [...listOf(beginRotation(row, command)), whole] : whole;
}
