import type { Hash, Row } from "../accesses.ts";
import { isTombstone } from "./block.ts";
import type { Command } from "../command.ts";
import { settleBeforeMark, settling } from "./finish.ts";
import { removing } from "./removal.ts";
import { beginRotation } from "./rotate.ts";
import { readRow } from "./settle.ts";
import { listSpool } from "./spool.ts";
import { bounded, doing, ended, to, where } from "../step.ts";
import type { Move, Moves, Place, Step } from "../step.ts";

/**
 * A leaked key. **Order:** find out whose it is, disable it, and only then give its user another key by a rotation
 * without a grace, or mark an earlier key for deletion. This is the one command that changes OpenRouter before the row: in
 * between, the current key is dead, and the same command goes on.
 */

/** The leaked key works no more, and is no user's key. */
export const CONTAINED = ended("contained");
/** It is disabled; it is a key that the protocol did not create, and is not replaced. */
const DISABLED = ended("disabled");

interface Looking {
  readonly isDisabled: boolean;
}

export function lookUpLeaked({ breach }: Command): Place {
  return to(readLeakedOutcome, { isDisabled: breach === "leaked-rotates-first" });
}

/** The key was replaced, purged or blocked in the meantime. The number of looks is limited. */
export function lookingAgain(): Place {
  return bounded(to(readLeakedOutcome, { isDisabled: true }));
}

function readLeakedOutcome(memory: Looking, command: Command): Step {
  return doing({ access: "journal.holding", hashes: [leakedBy(command)] }, ([one]) =>
    to(readLeakedHolder, { ...memory, made: one?.generation ?? null }),
  );
}

interface Recorded extends Looking {
  /** The generation of the leaked key; null if no outcome holds it. */
  readonly made: number | null;
}

function readLeakedHolder(memory: Recorded, command: Command): Step {
  return doing({ access: "row.holding", hashes: [leakedBy(command)] }, (held) =>
    held.length === 0 && memory.made === null
      ? disabling({ ...memory, after: DISABLED, held: null }, command)
      : to(readLeakedRow, memory),
  );
}

/** RECORD OUTCOME, REVOKE PREDECESSOR and SETTLE come before the judgement of whose the key is. */
function readLeakedRow(memory: Recorded, command: Command): Step {
  return doing({ access: "row.find" }, (row) => {
    if (row !== null && !row.settled) return settling(row, to(readLeakedRow, memory), command);
    const held = row === null || isTombstone(row) ? null : row;
    const after = replacing({ ...memory, row: held }, command);
    return disabling({ ...memory, after, held: held?.hash ?? null }, command);
  });
}

function replacing({ made, row }: Recorded & { readonly row: Row | null }, command: Command): Moves {
  const isCurrent = row?.hash === command.about;
  if (isCurrent) return made !== null || row.generation > 0 ? rotatingFromSpool(command) : DISABLED;
  if (made === null) return DISABLED;
  const key = { hash: leakedBy(command), generation: made };
  return command.breach === "leaked-no-mark"
    ? removing([key.hash], CONTAINED)
    : to(settleBeforeMark, { key, after: CONTAINED });
}

function rotatingFromSpool({ spool }: Command): Place {
  return spool ? to(listSpool, {}) : to(readRow, {});
}

interface Disabling extends Looking {
  readonly after: Moves;
  /** The key that the user has now. */
  readonly held: Hash | null;
}

function disabling({ isDisabled, after, held }: Disabling, command: Command): Moves {
  if (isDisabled) return after;
  const hash = leakedBy(command);
  const aimed = command.breach === "leaked-current-key" ? (held ?? hash) : hash;
  const disables = to(disableLeaked, { hash: aimed, after });
  return command.breach === "leaked-stops"
    ? [...where({ hash, works: false }, CONTAINED), ...where({ hash, works: true }, disables)]
    : disables;
}

interface Leaked {
  readonly hash: Hash;
  readonly after: Moves;
}

/** Nothing else is done for a key that may still work. OpenRouter may refuse it although its entry could not be changed. */
function disableLeaked({ hash, after }: Leaked): Step {
  return doing(
    { access: "upstream.disable", hash },
    () => after,
    () => [ended("REVOKE_PENDING"), ...where({ hash, works: false }, after)],
  );
}

/** Only the leaked key is rotated, not one that has taken its place. */
export function rotatingLeaked(row: Row, command: Command): Move {
  const isIt = row.hash === command.about || command.breach === "leaked-any-key";
  return isIt ? beginRotation(row, command) : lookingAgain();
}

function leakedBy({ about }: Command): Hash {
  if (about === null) throw new Error("there is no leaked key");
  return about;
}
