import type { Hash, Row } from "../accesses.ts";
import type { Command } from "../command.ts";
import { handingOut } from "./last-look.ts";
import { readLastOperation } from "./operation.ts";
import { plainRow, retiringPredecessor } from "./predecessor.ts";
import { lookForRemoval } from "./read-back.ts";
import { replaceWithSaved } from "./save.ts";
import { startOver } from "./settle.ts";
import { doing, ended, listOf, to, UNSURE } from "../step.ts";
import type { Move, Moves, Place, Step } from "../step.ts";

/**
 * For save, and for a sync that finds a key: a given key becomes current at once, as generation 0, and needs no
 * operation. A given key that was created here may be about to be deleted: it must not be in use again when a recorded
 * revocation is carried out. The removal of a key from its row is recorded before the row changes, so an actor that
 * reads the row after that change finds the record here.
 */
interface Giving {
  /** The row that is replaced; null if the user has none. */
  readonly row: Row | null;
}

interface GivingOurs extends Giving {
  /** The generation of this key; null if the protocol did not create it. */
  readonly made: number | null;
}

export function giving(row: Row | null, { breach }: Command): Move {
  return breach === "save-retired" ? storing({ row, made: null }) : to(readHolders, { row });
}

function storing({ row, made }: GivingOurs): Place {
  return row === null ? to(insertGiven, { made }) : to(replaceWithSaved, { row, made });
}

function readHolders({ row }: Giving, command: Command): Step {
  return doing({ access: "journal.holding", hashes: [keyOf(command)] }, (held) => {
    const [one] = held;
    const made = one?.generation ?? null;
    const after = storing({ row, made });
    return made === null ? after : ifNotOwed({ made, after, otherwise: passedOver(command) });
  });
}

/** No key is created if a source holds a key, even one that must not be used. */
function passedOver({ kind }: Command): Move {
  return kind === "save" ? CONFLICT : to(readLastOperation, { rotation: null, opens: false });
}

const CONFLICT = ended("CONFLICT");

interface Asking {
  readonly made: number;
  readonly after: Moves;
  readonly otherwise: Moves;
}

function ifNotOwed(asking: Asking): Place {
  return to(readRetirementOfGiven, asking);
}

function readRetirementOfGiven(asking: Asking): Step {
  const { made: generation, otherwise } = asking;
  return doing({ access: "journal.read rev", generation }, (retirement) =>
    retirement?.revoke === true ? otherwise : to(readDeletionOfGiven, asking),
  );
}

function readDeletionOfGiven(asking: Asking, { breach }: Command): Step {
  const { made: generation, otherwise } = asking;
  const kept = breach === "save-in-grace" ? asking.after : to(readGraceOfGiven, asking);
  return doing({ access: "journal.read del", generation }, (deletion) => (deletion === null ? kept : otherwise));
}

/** A retiring key works only until its grace is over. */
function readGraceOfGiven({ made: generation, after, otherwise }: Asking): Step {
  return doing({ access: "journal.read due", generation }, (due) => (due === null ? after : otherwise));
}

/**
 * While a kept key is given again, another command may record its deletion, possibly after its look at the row. So the
 * records are read again after the key is in the row, and the row is removed if the key is to be deleted.
 */
export function confirming(
  { row, made, after }: { row: Row; made: number | null; after: Moves },
  command: Command,
): Moves {
  if (made === null || command.breach === "save-looks-once") return after;
  // REVOKE PREDECESSOR precedes every removal of a row.
  return ifNotOwed({ made, after, otherwise: retiringPredecessor(row, to(withdraw, { row }), command) });
}

function withdraw({ row }: { readonly row: Row }, command: Command): Step {
  const after = passedOver(command);
  return doing({ access: "row.remove", seen: row.version }, ({ answer }) =>
    answer === "unanswered" ? lookForRemoval({ seen: row.version, done: after, lost: after }) : after,
  );
}

/** For a user without a row. */
function insertGiven({ made }: Pick<GivingOurs, "made">, command: Command): Step {
  const row = plainRow({ generation: 0, hash: keyOf(command) });
  return doing({ access: "row.insert", row }, (written) => {
    if (written.answer === "unanswered") return to(readGivenBack, { made });
    if (written.answer === "refused") return startOver();
    return confirming({ row: { ...row, version: written.version }, made, after: stored(made, command) }, command);
  });
}

/**
 * The insert is never sent again: without a row, the first insert may still be applied. A row with the same key may be
 * another command's.
 */
function readGivenBack({ made }: Pick<GivingOurs, "made">, command: Command): Step {
  return doing({ access: "row.find" }, (row) => {
    if (row === null) return UNSURE;
    if (row.generation !== 0 || row.hash !== command.key) return startOver();
    return [...listOf(confirming({ row, made, after: stored(made, command) }, command)), startOver()];
  });
}

/** A key that is confirmed after it was stored is looked at once more before it is handed out. */
function stored(made: number | null, command: Command): Move {
  if (command.kind === "save") return ended("saved");
  const hash = keyOf(command);
  return made === null ? ended("has the key", hash) : handingOut({ generation: 0, hash }, command);
}

export function keyOf({ kind, key }: Command): Hash {
  if (key === null) throw new Error(`this ${kind} has no key`);
  return key;
}
