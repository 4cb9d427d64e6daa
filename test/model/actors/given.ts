import type { Hash, RowContent } from "../accesses.ts";
import type { Command } from "../command.ts";
import { startOver } from "./settle.ts";
import { doing, ended, to, UNSURE } from "../step.ts";
import type { Ended, Step } from "../step.ts";

/** Sync 1a and save 1: a key that somebody gave is stored for a user without a row. It is generation 0, and needs no journal. */
export function insertGiven(_: object, command: Command): Step {
  const row = given(keyOf(command));
  return doing({ access: "row.insert", row }, ({ answer }) => {
    if (answer === "unanswered") return to(readGivenBack, {});
    return answer === "done" ? stored(command) : startOver();
  });
}

/** Never sent again: the first one may still land where there is none. It may be another's row that holds the same key. */
function readGivenBack(_: object, command: Command): Step {
  return doing({ access: "row.find" }, (row) => {
    if (row === null) return UNSURE;
    return row.generation === 0 && row.hash === command.key ? [stored(command), startOver()] : startOver();
  });
}

function stored(command: Command): Ended {
  return command.kind === "save" ? ended("saved") : ended("has the key", command.key);
}

function given(hash: Hash): RowContent {
  return { generation: 0, hash, settled: true, previous: null };
}

export function keyOf({ kind, key }: Command): Hash {
  if (key === null) throw new Error(`this ${kind} has no key`);
  return key;
}
