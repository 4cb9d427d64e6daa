import type { Hash, LimitDue, Row, RowContent } from "../accesses.ts";
import type { Command } from "../command.ts";
import { readLastOperation } from "./operation.ts";
import { readOwnBack, refuseOwn, saveOutcome } from "./placing.ts";
import type { Placing } from "./placing.ts";
import { noteOf } from "./predecessor.ts";
import { owing, retiringIn, savedIn } from "./purge.ts";
import { doing, ended, listOf, to, waiting } from "../step.ts";
import type { Moves, Place, Step } from "../step.ts";

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

const CONFLICT = ended("CONFLICT");

/** The row has no open work. The terms of the new key are decided. */
export function beginRotation(old: Row, command: Command): Place {
  const rotation = { old, limitDue: limitDueAfter(old, command), retiring: [] };
  const endsGraces = command.revoke === "ours" && command.breach !== "rotate-forgets-retiring";
  return endsGraces ? to(readRetiring, { rotation }) : creating(rotation);
}

/** A limit that is kept: the old key's own note, or its full limit, which comes back at the next reset. */
function limitDueAfter({ limitDue }: Row, command: Command): LimitDue | null {
  return command.namesLimit ? null : (limitDue ?? command.limitDue);
}

function creating(rotation: Rotation): Place {
  return to(readLastOperation, { rotation, opens: true });
}

/** A rotation that ends every grace marks the retiring keys in each round: a rotation may have come between. */
function readRetiring({ rotation }: Pick<NewKey, "rotation">): Step {
  return doing({ access: "journal.records" }, (records) => {
    const generations = retiringIn(records);
    const retiring = generations.flatMap((generation) => savedIn(records, generation));
    return owing({ generations, after: creating({ ...rotation, retiring }) });
  });
}

/** VERIFY KEY: a new key that does not work is never put into use. */
export function verifyNewKey(made: NewKey, command: Command): Step {
  return doing({ access: "upstream.verify", hash: made.hash }, (answer) =>
    answer === "works" ? verified(made, command) : to(refuseOwn, placing(made, command)),
  );
}

function verified(made: NewKey, { restrictions, breach }: Command): Place {
  return restrictions === null || breach === "attach-late" ? to(swapRow, made) : to(attachRestrictions, made);
}

/**
 * ATTACH RESTRICTIONS: those of the old key, before the row is replaced. Else a helper makes an unrestricted key
 * current. A list may refuse the new key.
 */
function attachRestrictions(made: NewKey, command: Command): Step {
  const refused = to(refuseOwn, placing(made, command));
  return doing(
    { access: "upstream.attach", hash: made.hash },
    // The other lists of the key follow, one by one.
    () => [to(swapRow, made), waiting(to(attachRestrictions, made)), refused],
    () => refused,
  );
}

/** STORE ROW: the old key stays current until RECORD OUTCOME. The row keeps the data to put the old key back. */
function swapRow(made: NewKey, command: Command): Step {
  const row = rotatedRow(made, command);
  return doing({ access: "row.replace", row, seen: made.rotation.old.version }, (written) => {
    const own = placing(made, command);
    if (written.answer === "refused") return [to(readOldAgain, made), to(refuseOwn, own)];
    if (written.answer === "unanswered") return to(readOwnBack, own);
    return to(saveOutcome, { ...own, row: { ...row, version: written.version } });
  });
}

/** The row may have been settled, or have its full limit back: then it is replaced in its new version. */
function readOldAgain(made: NewKey, command: Command): Step {
  const { old } = made.rotation;
  return doing({ access: "row.find" }, (row) => {
    const isSame = row?.generation === old.generation && row.hash === old.hash && row.settled;
    if (!isSame) return to(refuseOwn, placing(made, command));
    const forgets = command.breach === "swap-again-by-row";
    const limitDue = forgets ? limitDueAfter(row, command) : made.rotation.limitDue;
    return to(swapRow, { ...made, rotation: { ...made.rotation, old: row, limitDue } });
  });
}

function rotatedRow({ generation, hash, rotation }: NewKey, { graceMs, restrictions }: Command): RowContent {
  const { old, limitDue } = rotation;
  const previous = noteOf(old, { revoke: graceMs === null, graceMs });
  return { generation, hash, limitDue, restrictions, settled: false, previous };
}

/** An old key that the protocol did not create is kept upstream. */
function placing(made: NewKey, command: Command): Placing {
  const { generation, hash, rotation } = made;
  const row = rotatedRow(made, command);
  const replaced = rotation.old.generation === 0 ? null : row.previous;
  const won = ended("rotated", hash);
  const retiringToo = rotation.retiring;
  return { generation, hash, replaced, retiringToo, won, lost: CONFLICT, whenAway: "leave" };
}

/** A broken variant: the restrictions are attached only after the commit. */
export function attachTooLate({ hash, after }: { readonly hash: Hash; readonly after: Moves }): Step {
  const next = () => listOf(after);
  return doing({ access: "upstream.attach", hash }, next, next);
}
