import type { Previous, Row, RowContent, Version } from "../accesses.ts";
import type { Command } from "../command.ts";
import { confirming, keyOf } from "./given.ts";
import { noteOf, plainRow, retiringPredecessor, settledRow } from "./predecessor.ts";
import { removing } from "./removal.ts";
import { startOver } from "./settle.ts";
import { doing, ended, to, UNSURE } from "../step.ts";
import type { Ended, Holding, Moves, Step } from "../step.ts";

const SAVED = ended("saved");

/** STORE ROW: the row immediately notes the key that it replaced, so a save that dies leaves no unrecorded key. */
export function replaceWithSaved({ row: old, made }: Replacing, command: Command): Step {
  const row = savedRow(old, command);
  return doing({ access: "row.replace", row, seen: old.version }, (written) => {
    if (written.answer === "refused") return startOver();
    if (written.answer === "unanswered") return to(readSavedBack, { replaced: row.previous, seen: old.version, made });
    return finish({ ...row, version: written.version }, row.previous, made, command);
  });
}

interface Replacing extends Holding {
  readonly made: number | null;
}

interface Saved {
  readonly made: number | null;
  readonly replaced: Previous | null;
  readonly seen: Version;
}

/** The write is never sent again: while the row is unchanged, the first write may still be applied. */
function readSavedBack({ replaced, seen, made }: Saved, command: Command): Step {
  return doing({ access: "row.find" }, (row) => {
    if (row?.version === seen) return UNSURE;
    return row?.generation === 0 && row.hash === command.key ? finish(row, replaced, made, command) : startOver();
  });
}

/** REVOKE PREDECESSOR comes after the row: else a save that dies would leave a revocation of a key in use. */
function finish(row: Row, replaced: Previous | null, made: number | null, command: Command): Moves {
  const after = replaced === null ? SAVED : retiringReplaced({ ...row, previous: replaced }, replaced, command);
  return confirming({ row, made, after }, command);
}

/** **Order:** record the replaced key's retirement, revoke the key, drop the note. */
function retiringReplaced(row: Row, { hash, revoke }: Previous, command: Command): Moves {
  return retiringPredecessor(row, removing(revoke ? [hash] : [], to(settleSaved, { row })), command);
}

/** SETTLE. A lost write is harmless. */
function settleSaved({ row }: Holding): Step {
  return doing({ access: "row.replace", row: settledRow(row), seen: row.version }, isSaved, isSaved);
}

function isSaved(): Ended {
  return SAVED;
}

function savedRow(old: Row, command: Command): RowContent {
  const isOurs = old.generation > 0;
  const previous = isOurs ? noteOf(old, { revoke: command.revoke !== "no", graceMs: null }) : null;
  return { ...plainRow({ generation: 0, hash: keyOf(command) }), settled: !isOurs, previous };
}
