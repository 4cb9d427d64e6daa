import type { Hash, LimitDue, Restrictions, Row, RowContent } from "../accesses.ts";
import type { Command } from "../command.ts";
import { readLastOperation } from "./operation.ts";
import { CONTAINED, lookingAgain } from "./leaked.ts";
import { noteOf, retiringPredecessor, settledRow } from "./predecessor.ts";
import { notOwed, owing, replacedWithGrace, savedIn } from "./purge.ts";
import { detachTooEarly, removing } from "./removal.ts";
import { revert, startOver } from "./settle.ts";
import { doing, ended, to, waiting } from "../step.ts";
import type { Move, Moves, Place, Step } from "../step.ts";

/** What a rotation decides before it creates the new key, and never again. */
export interface Rotation {
  readonly old: Row;
  /** The note for the new key's row. */
  readonly limitDue: LimitDue | null;
  /** The keys whose grace this rotation ends. */
  readonly retiring: readonly Hash[];
}

interface NewKey {
  readonly generation: number;
  readonly hash: Hash;
  readonly rotation: Rotation;
}

const NOT_ROTATED = ended("not rotated");

/** Another command was first: its key is the answer to a renewal, and a leaked key may be its user's no more. */
function conflict({ kind }: Command): Move {
  if (kind === "renew") return startOver();
  return kind === "leaked" ? lookingAgain() : NOT_ROTATED;
}

/** The row has no open work. The terms of the new key are decided. */
export function beginRotation(old: Row, command: Command): Place {
  const rotation = { old, limitDue: limitDueAfter(old, command), retiring: [] };
  if (old.generation === 0 && command.revoke === "foreign too") return to(lookForOtherHolders, { rotation });
  return endingGraces(rotation, command);
}

/** A key that the protocol did not create is removed only if no other user has it. */
function lookForOtherHolders({ rotation }: Pick<NewKey, "rotation">, command: Command): Step {
  return doing({ access: "row.others holding", hash: rotation.old.hash }, (others) =>
    others === "some" ? NOT_ROTATED : endingGraces(rotation, command),
  );
}

function endingGraces(rotation: Rotation, { revoke, breach }: Command): Place {
  const ends = revoke !== "no" && breach !== "rotate-forgets-retiring";
  return ends ? to(readRetiring, { rotation }) : creating(rotation);
}

/** A limit that is kept: the old key's own note, or its full limit, which comes back at the next reset. */
function limitDueAfter({ limitDue }: Row, command: Command): LimitDue | null {
  return command.namesLimit ? null : (limitDue ?? command.limitDue);
}

function creating(rotation: Rotation): Place {
  return to(readLastOperation, { rotation, opens: true });
}

/**
 * A rotation that ends every grace marks the retiring keys in each round: a rotation may have come between. Keys that are
 * marked already may not be deleted yet.
 */
function readRetiring({ rotation }: Pick<NewKey, "rotation">): Step {
  return doing({ access: "journal.records" }, (records) => {
    const replaced = replacedWithGrace(records).filter((generation) => generation !== rotation.old.generation);
    const retiring = replaced.flatMap((generation) => savedIn(records, generation));
    return owing({ generations: notOwed(replaced, records), after: creating({ ...rotation, retiring }) });
  });
}

/** VERIFY KEY: a new key that does not work is never put into use, and ends the command: a renewal never loops. */
export function preparing(made: NewKey, command: Command): Moves {
  const isRestricted = restrictionsOf(command) !== null && command.breach !== "attach-late";
  return [isRestricted ? to(attachRestrictions, made) : to(swapRow, made), refusing(made, command)];
}

function refusing(made: NewKey, { breach }: Command): Place {
  return to(abandonRotated, { ...made, after: breach === "renew-loops" ? startOver() : NOT_ROTATED });
}

function losing(made: NewKey, command: Command): Place {
  return to(abandonRotated, { ...made, after: conflict(command) });
}

/** A deleted key shows no restrictions any more, but its row knows them. */
function restrictionsOf({ restrictions, breach }: Command): Restrictions | null {
  return breach === "renew-unrestricted" ? null : restrictions;
}

/**
 * ATTACH RESTRICTIONS: those of the old key, before the row is replaced. Else a helper makes an unrestricted key
 * current. A list may refuse the new key.
 */
function attachRestrictions(made: NewKey, command: Command): Step {
  const refused = refusing(made, command);
  return doing(
    { access: "upstream.attach", hash: made.hash },
    // The other lists of the key follow, one by one.
    () => [to(swapRow, made), waiting(to(attachRestrictions, made)), refused],
    () => [refused, waiting(to(attachRestrictions, made))],
  );
}

/** STORE ROW: the old key stays current until RECORD OUTCOME. The row keeps the data to put the old key back. */
function swapRow(made: NewKey, command: Command): Step {
  const row = rotatedRow(made, command);
  return doing({ access: "row.replace", row, seen: made.rotation.old.version }, (written) => {
    if (written.answer === "done") return to(commit, { ...made, row: { ...row, version: written.version } });
    return to(readSwapped, { ...made, row, isSent: written.answer === "unanswered" });
  });
}

interface Swapping extends NewKey {
  readonly row: RowContent;
  /** The write may have been applied, or may still be applied: it is never sent again. */
  readonly isSent: boolean;
}

/** The row may have been settled, or have its full limit back: then it is replaced in its new version. */
function readSwapped({ row: own, isSent, ...made }: Swapping, command: Command): Step {
  const { old } = made.rotation;
  return doing({ access: "row.find" }, (row) => {
    if (row?.generation === own.generation && row.hash === own.hash) return to(commit, { ...made, row });
    if (isSent) return to(abandonUnanswered, { ...made, row: { ...own, version: old.version } });
    const isSame = row?.generation === old.generation && row.hash === old.hash && row.settled;
    if (!isSame) return losing(made, command);
    const forgets = command.breach === "swap-again-by-row";
    const limitDue = forgets ? limitDueAfter(row, command) : made.rotation.limitDue;
    // The number of attempts is limited.
    return [
      to(swapRow, { ...made, rotation: { ...made.rotation, old: row, limitDue } }),
      waiting(losing(made, command)),
    ];
  });
}

interface Swapped extends NewKey {
  readonly row: Row;
}

/** The row may appear later. Saved: another actor has seen it, and the rotation is committed. */
function abandonUnanswered({ row, ...made }: Swapped, command: Command): Step {
  return doing({ access: "journal.insert out", generation: made.generation, outcome: "abandoned" }, (stands) =>
    stands === "abandoned" ? losing(made, command) : to(commit, { ...made, row }),
  );
}

/** RECORD OUTCOME: the commit. */
function commit({ row, ...made }: Swapped, command: Command): Step {
  const { generation, hash } = made;
  return doing(
    { access: "journal.insert out", generation, outcome: { saved: hash } },
    (stands) => {
      if (stands === "abandoned") return losing(made, command);
      const after = committed({ ...made, row }, command);
      return command.breach === "attach-late" ? to(attachTooLate, { hash, after }) : after;
    },
    () => to(abandonUncommitted, { ...made, row }),
  );
}

/** The commit could not be recorded: the rotation is undone, unless another command has committed it. */
function abandonUncommitted({ row, ...made }: Swapped, command: Command): Step {
  return doing({ access: "journal.insert out", generation: made.generation, outcome: "abandoned" }, (stands) =>
    stands === "abandoned" ? to(readAbandoned, { ...made, after: NOT_ROTATED }) : committed({ ...made, row }, command),
  );
}

/**
 * REVOKE PREDECESSOR, SETTLE, and without a grace DELETE UPSTREAM. A key with a grace keeps its limit, its guardrails and
 * its place in the allow-lists.
 */
function committed({ row, generation, hash, rotation }: Swapped, command: Command): Moves {
  const { old, retiring } = rotation;
  const isRevoked = old.generation === 0 ? command.revoke === "foreign too" : command.graceMs === null;
  const removed = [...(isRevoked ? [old.hash] : []), ...retiring];
  const after = rotated({ hash, rotation }, command);
  const unsettled = removing(removed, to(lookAtRotated, { generation, hash, after }));
  // SETTLE is the last look, if it is the last access.
  const isLast = removed.length === 0 && !command.split;
  const settling = { row, settled: isLast ? after : unsettled, unsettled };
  const early = command.breach === "detach-early";
  const settles = early
    ? to(detachTooEarly, { hash: old.hash, after: to(settleRotated, settling) })
    : to(settleRotated, settling);
  return retiringPredecessor(row, settles, command);
}

/** A leaked key that was created here and then saved by hand is an earlier key of the user from now on. */
function rotated({ hash, rotation }: Omit<NewKey, "generation">, { kind }: Command): Move {
  if (kind !== "leaked") return ended("rotated", hash);
  return rotation.old.generation === 0 ? lookingAgain() : CONTAINED;
}

interface Settling {
  readonly row: Row;
  /** The last write has seen the new key in the row, or has not. */
  readonly settled: Moves;
  readonly unsettled: Moves;
}

/** A lost write is harmless, but it has not seen the row. */
function settleRotated({ row, settled, unsettled }: Settling): Step {
  return doing(
    { access: "row.replace", row: settledRow(row), seen: row.version },
    ({ answer }) => (answer === "done" ? settled : unsettled),
    () => unsettled,
  );
}

/** The last look: the new key may have been replaced, or purged, since it was in use. */
function lookAtRotated({ generation, hash, after }: Omit<Abandoned, "rotation">, command: Command): Step {
  return doing({ access: "row.find" }, (row) =>
    row?.generation === generation && row.hash === hash ? after : conflict(command),
  );
}

interface Abandoned extends NewKey {
  readonly after: Moves;
}

/**
 * The rotation failed. **Order:** abandon the generation, put the old row back, remove the key. After that, no actor that
 * read its row can save it. Saved: another actor has committed the rotation.
 */
function abandonRotated(made: Abandoned, command: Command): Step {
  return doing({ access: "journal.insert out", generation: made.generation, outcome: "abandoned" }, (stands) =>
    stands === "abandoned" ? to(readAbandoned, made) : conflict(command),
  );
}

function readAbandoned({ generation, hash, after }: Abandoned): Step {
  const removal = removing([hash], after);
  return doing({ access: "row.find" }, (row) =>
    row?.generation === generation && row.hash === hash ? to(revertRotated, { row, after: removal }) : removal,
  );
}

function revertRotated({ row, after }: { readonly row: Row; readonly after: Moves }, command: Command): Step {
  return revert(row, command, after);
}

function rotatedRow({ generation, hash, rotation }: NewKey, command: Command): RowContent {
  const { old, limitDue } = rotation;
  // A key that the protocol did not create is not revoked by a note.
  const graceMs = old.generation === 0 ? null : command.graceMs;
  const previous = noteOf(old, { revoke: old.generation > 0 && graceMs === null, graceMs });
  return { generation, hash, limitDue, restrictions: restrictionsOf(command), settled: false, previous };
}

/** A broken variant: the restrictions are attached only after the commit. */
function attachTooLate({ hash, after }: { readonly hash: Hash; readonly after: Moves }): Step {
  const next = () => after;
  return doing({ access: "upstream.attach", hash }, next, next);
}
