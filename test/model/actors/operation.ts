import type { LiveOperations } from "../accesses.ts";
import type { Command } from "../command.ts";
import { unlessBlocked } from "./draft-block.ts";
import { place } from "./placing.ts";
import { removingMatches } from "./removal.ts";
import { preparing } from "./rotate.ts";
import type { Rotation } from "./rotate.ts";
import { found, startOver } from "./settle.ts";
import { bounded, doing, ended, to, waiting } from "../step.ts";
import type { Move, Moves, Step } from "../step.ts";

/** RECORD OPERATION and CREATE KEY, shared with rotate: one operation at a time creates one generation. */
interface Making {
  readonly generation: number;
  /** What a rotation has decided; null in every other command. */
  readonly rotation: Rotation | null;
  /** False: the actor waits for a fresh operation of another command, but abandons none and begins none. */
  readonly opens: boolean;
}

const NO_KEY = ended("NO_KEY");
const BLOCKED = ended("BLOCKED");

/** Reads the user's last operation, and then its outcome. */
export function readLastOperation(memory: Omit<Making, "generation">, command: Command): Step {
  return doing({ access: "journal.last op" }, (generation) =>
    generation === 0 ? decided({ generation, ...memory }, command) : to(readLastOutcome, { generation, ...memory }),
  );
}

/** An operation without an outcome is in progress or stale. Only the clock tells which, so both are tried. */
function readLastOutcome(memory: Making, command: Command): Step {
  const { generation } = memory;
  return doing({ access: "journal.read out", generation }, (outcome) => {
    if (outcome !== null) return decided(memory, command);
    if (command.breach === "op-without-out") return to(openOperation, memory);
    return [bounded(waiting(to(poll(memory, command), memory))), stale(memory)];
  });
}

/** A rotation already has a row. Every other command waits for a row or an outcome, whichever comes first. */
function poll({ rotation }: Making, { kind }: Command) {
  if (rotation === null) return pollRow;
  return kind === "renew" ? pollOldRow : readLastOutcome;
}

/** A row with another key than the refused one ends the wait of a renewal. */
function pollOldRow(memory: Making): Step {
  return doing({ access: "row.find" }, (row) =>
    row === null || row.hash === memory.rotation?.old.hash ? bounded(to(readLastOutcome, memory)) : startOver(),
  );
}

function pollRow(memory: Making, command: Command): Step {
  return doing({ access: "row.find" }, (row) =>
    row === null ? bounded(to(readLastOutcome, memory)) : found({ row, listed: null }, command),
  );
}

function stale({ generation, opens }: Making): Move {
  return opens ? to(abandonSuspect, { generation }) : NO_KEY;
}

function decided(memory: Making, command: Command): Moves {
  if (command.breach === "no-reread" || command.breach === "renew-no-reread") return opening(memory, command);
  return memory.rotation === null ? to(readRowAgain, memory) : to(readOldRowAgain, memory);
}

/** Reads the row again after the journal. This saves a paid POST; safety does not depend on it. */
function readRowAgain(memory: Making, command: Command): Step {
  return doing({ access: "row.find" }, (row) => {
    if (row !== null) return found({ row, listed: null }, command);
    return memory.opens ? opening(memory, command) : NO_KEY;
  });
}

/**
 * Another command's operation may have been a rotation: its new key is not rotated as well. This saves a paid POST. A
 * renewal starts over after any change of the row.
 */
function readOldRowAgain(memory: Making, command: Command): Step {
  const old = memory.rotation?.old;
  return doing({ access: "row.find" }, (row) => {
    const isSame = command.kind === "renew" ? row?.version === old?.version : row?.hash === old?.hash;
    return isSame ? opening(memory, command) : startOver();
  });
}

function opening(memory: Making, command: Command): Moves {
  const free = capOf(command) === null ? to(openOperation, memory) : to(lookAtCap, memory);
  return unlessBlocked("before the operation", { free, blocked: BLOCKED }, command);
}

/** The cap applies only to keys that are created automatically. */
function capOf({ kind, cap, deliberate }: Command): number | null {
  return kind === "rotate" || deliberate ? null : cap;
}

/** If the cap is used up, nothing is written. This saves two records; safety does not depend on it. */
function lookAtCap(memory: Making, command: Command): Step {
  const cap = capOf(command) ?? 0;
  return doing({ access: "journal.live operations", atMost: cap }, ({ saved, open }) =>
    saved + open < cap ? to(openOperation, memory) : crowded({ ...memory, saved }, cap),
  );
}

type Crowded = Pick<Making & LiveOperations, "generation" | "rotation" | "saved">;

/** Operations in progress may still be abandoned, so a command that can wait starts over. */
function crowded({ saved, rotation }: Pick<Crowded, "rotation" | "saved">, cap: number): readonly Move[] {
  const full = ended("PROVISION_CAP");
  return saved >= cap ? [full] : [bounded(waiting(to(readLastOperation, { rotation, opens: true }))), full];
}

/** RECORD OPERATION. **Invariant:** it is allowed only if the last operation has an outcome. Safety depends on this. */
function openOperation({ generation, rotation }: Making, command: Command): Step {
  const next = { generation: generation + 1, rotation };
  const { deliberate } = command;
  return doing({ access: "journal.insert op", generation: next.generation, deliberate }, (result) => {
    if (result === "lost") return startOver();
    return capOf(command) === null || command.breach === "cap-check-first" ? to(post, next) : to(countMine, next);
  });
}

/**
 * The hourly cap. **Order:** insert the own operation, then count all, including the own one. The last inserter sees
 * all others, so the cap is never exceeded.
 */
function countMine(memory: Omit<Making, "opens">, command: Command): Step {
  const { generation, rotation } = memory;
  const cap = capOf(command) ?? 0;
  return doing(
    { access: "journal.live operations", atMost: cap + 1 },
    ({ saved, open }) => (saved + open <= cap ? to(post, memory) : to(abandonOverCap, { generation, rotation, saved })),
    () => to(abandonUnmade, { generation }),
  );
}

/** Abandons an operation above the cap. Abandoned operations do not count. */
function abandonOverCap({ generation, rotation, saved }: Crowded, command: Command) {
  return doing({ access: "journal.insert out", generation, outcome: "abandoned" }, () =>
    crowded({ rotation, saved }, capOf(command) ?? 0),
  );
}

/** CREATE KEY: the request is sent once. */
function post({ generation, rotation }: Omit<Making, "opens">, command: Command): Step {
  const unmade = () => to(abandonUnmade, { generation });
  const lowered = rotation !== null && rotation.limitDue !== null;
  return doing(
    { access: "upstream.post", generation, lowered },
    (posted) => {
      if (posted === "ambiguous") return to(abandonSuspect, { generation });
      if (posted === "refused") return unmade();
      const made = { generation, hash: posted.created };
      return rotation === null ? place(made, command) : preparing({ ...made, rotation }, command);
    },
    unmade,
  );
}

/** Abandons an operation that created no key. No listing is necessary. */
function abandonUnmade({ generation }: Pick<Making, "generation">): Step {
  return doing({ access: "journal.insert out", generation, outcome: "abandoned" }, () => [
    startOver(),
    ended("PROVIDER_UNAVAILABLE"),
  ]);
}

/** **Order:** abandon the operation, then look for its key. After that, no actor can save the key. */
function abandonSuspect({ generation }: Pick<Making, "generation">): Step {
  return doing({ access: "journal.insert out", generation, outcome: "abandoned" }, (stands) =>
    stands === "abandoned" ? to(listByName, { generation }) : startOver(),
  );
}

function listByName({ generation }: Pick<Making, "generation">): Step {
  return doing({ access: "upstream.list named", generation }, (hashes) => removingMatches(hashes, startOver()));
}
